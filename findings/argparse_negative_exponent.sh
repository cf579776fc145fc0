#!/usr/bin/env bash
# Python's argparse takes -0.5 for a number and -1e-5, -1e9 and -inf for options.
#
# Versions: Debian's python3 3.11.2.
# Behaviour: what begins with a dash is looked at as digits with at most one point. Any other form is the
# name of an option, whatever type the argument has, and the option before it has no value.
# A good engineer would guess: an option of type float takes what float() reads; negative numbers work, as
# -0.5 shows.
# Output seen: -1, -0.5 and -.5 are read; -1e-5, -1e9, -inf and "-1." raise "expected one argument"; with
# --bias=-1e-5 all are read; str() of -0.0001 is read, and of -0.00001 it is not.
# Why it matters: biases, thresholds of log-probabilities and the -1e9 of a mask are such numbers. A sweep
# which formats them by str() runs for the large ones and fails at the first below 0.0001.
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
need python3.11 3.11.2
cat >check.py <<'PY'
import argparse

parser = argparse.ArgumentParser(exit_on_error=False)
parser.add_argument("--bias", type=float)
def parsed(*words):
    try:
        return parser.parse_args(words).bias
    except argparse.ArgumentError as error:
        return error
for text in ("-1", "-0.5", "-.5", "-1e-5", "-1e9", "-inf", "-1."):
    print(f"{text}: {parsed('--bias', text)}, with = {parsed(f'--bias={text}')}")
for value in (-0.0001, -0.00001):
    print(f"str {value}: {parsed('--bias', str(value))}")
PY
/usr/bin/python3 check.py >seen
cat seen
cat >expected <<'TEXT'
-1: -1.0, with = -1.0
-0.5: -0.5, with = -0.5
-.5: -0.5, with = -0.5
-1e-5: argument --bias: expected one argument, with = -1e-05
-1e9: argument --bias: expected one argument, with = -1000000000.0
-inf: argument --bias: expected one argument, with = -inf
-1.: argument --bias: expected one argument, with = -1.0
str -0.0001: -0.0001
str -1e-05: argument --bias: expected one argument
TEXT
cmp -s seen expected || { echo "Changed: negative numbers with an exponent in argparse" >&2; exit 1; }
