#!/usr/bin/env bash
# nlohmann's value("temperature", 1) of {"temperature": 0.7} is 0.
#
# Versions: Debian's nlohmann-json3-dev 3.11.2, g++ 12.2.0.
# Behaviour: the type of the default is the type of the result, and a number is cast to it as C++ casts:
# fractions are cut, large numbers and signs wrap. Other kinds than numbers are an error.
# A good engineer would guess: the default is for a missing key; a number that the type does not hold is an
# error, as a text or true is.
# Output seen: 0.7 with the default 1 is 0, with 1.0 it is 0.7; 4294967296 with 1 is 0; -1 with the default 1u
# is 4294967295; true and a text are errors.
# Why it matters: servers for models in C++ read their requests by such lines. A temperature of 0.7 is greedy,
# top_p 0.95 is 0 and keeps one token, and n_predict -1 is four thousand million, by the type of the default.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
export DEBIAN_FRONTEND=noninteractive
installed() {
  local found
  found=$(dpkg-query -W -f='${Status} ${Version}' "$1" 2>/dev/null) || return 1
  [[ "$found" == "install ok installed "*"$2"* ]]
}
need() {
  get() { apt-get install -qq -y --no-install-recommends "$1" >/dev/null 2>&1; }
  installed "$@" || get "$1" || { apt-get update -qq && get "$1"; } || true
  installed "$@" || { echo "No $1 $2 here" >&2; exit 1; }
}
need nlohmann-json3-dev 3.11.2
need g++ 4:12.2.0
cat >read.cc <<'C'
#include <iostream>
#include <nlohmann/json.hpp>
int main() {
  const auto request = nlohmann::json::parse(
      R"({"temperature": 0.7, "top_p": 0.95, "cache": 4294967296, "n_predict": -1, "stream": true, "seed": "7"})");
  std::cout << "temperature, default 1: " << request.value("temperature", 1) << "\n";
  std::cout << "temperature, default 1.0: " << request.value("temperature", 1.0) << "\n";
  std::cout << "top_p, default 1: " << request.value("top_p", 1) << "\n";
  std::cout << "cache, default 1: " << request.value("cache", 1) << "\n";
  std::cout << "n_predict, default 1u: " << request.value("n_predict", 1u) << "\n";
  for (const char* key : {"stream", "seed"}) {
    try {
      const double read = request.value(key, 1.0);
      std::cout << key << ", default 1.0: " << read << "\n";
    } catch (const nlohmann::json::exception&) {
      std::cout << key << ", default 1.0: an error\n";
    }
  }
}
C
g++ -O0 read.cc -o read
./read >seen
cat seen
cat >expected <<'TEXT'
temperature, default 1: 0
temperature, default 1.0: 0.7
top_p, default 1: 0
cache, default 1: 0
n_predict, default 1u: 4294967295
stream, default 1.0: an error
seed, default 1.0: an error
TEXT
cmp -s seen expected || { echo "Changed: types of defaults in nlohmann's JSON" >&2; exit 1; }
