#!/usr/bin/env bash
# cJSON writes a number with 15 digits where that is near enough: a sixth of all doubles come back otherwise.
#
# Versions: Debian's libcjson-dev 1.7.15, gcc 12.2.0.
# Behaviour: 15 digits are tried, read again and taken if the result is within the relative rounding error of
# a double, not if it is equal. Else 17 digits are written.
# A good engineer would guess: the trial is for a short text that comes back as the same number, as it does
# for 0.1.
# Output seen: 0.30000000000000004 is written as 0.3, 9007199254740991 (2^53 - 1) as 9.00719925474099e+15; of
# 10,000 random numbers between 0 and 1 1,615 change; 1/3 and 0.1 do not.
# Why it matters: scores that pass through such a program no longer equal those of the run, sums differ and
# sets of both have a sixth of their rows twice. Offsets and hashes of 53 bits lose their last digit.
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
need libcjson-dev 1.7.15
need gcc 4:12.2.0
cat >copy.c <<'C'
#include <cjson/cJSON.h>
#include <stdio.h>
int main(void) {
  char line[100];
  while (fgets(line, sizeof line, stdin)) {
    puts(cJSON_PrintUnformatted(cJSON_Parse(line)));
  }
  return 0;
}
C
gcc copy.c -o copy -lcjson
cat >check.py <<'PY'
import random
import subprocess

def copied(numbers):
    lines = "".join(f"{number!r}\n" for number in numbers)
    return subprocess.run("./copy", input=lines, capture_output=True, text=True, check=True).stdout.split()
numbers = [0.1, 1 / 3, 0.1 + 0.2, 2**53 - 1]
for number, text in zip(numbers, copied(numbers)):
    print(f"{number!r}: {text}, equal {float(text) == number}")
draw = random.Random(1)
numbers = [draw.random() for _ in range(10_000)]
print("changed", sum(float(text) != number for number, text in zip(numbers, copied(numbers))))
PY
/usr/bin/python3 check.py >seen
cat seen
cat >expected <<'TEXT'
0.1: 0.1, equal True
0.3333333333333333: 0.33333333333333331, equal True
0.30000000000000004: 0.3, equal False
9007199254740991: 9.00719925474099e+15, equal False
changed 1615
TEXT
cmp -s seen expected || { echo "Changed: digits of cJSON" >&2; exit 1; }
