#!/usr/bin/env bash
# bc reads 1.0E-5 as 1.09 - 5: a number with a capital exponent is another number, without an error.
#
# Versions: Debian's bc 1.07.1.
# Behaviour: A to F are digits. A number of several digits takes those above its base for 9, so that
# 2.5E is 2.59, and the rest is a sum: 2.5E-3 is 2.59 - 3. A number alone behind the E makes further
# digits, 1E5 is 195. A small e is a syntax error.
# A good engineer would guess: a calculator of any precision either reads an exponent or refuses it.
# Output seen: 1.0E-5 is -3.91, 2.5E-3 is -.41, 1.5E+2 is 3.59, 1E5 is 195; 1.0e-5 is an error.
# Why it matters: job scripts add up times and divide rates by bc, as bash has no fractions. C's %E,
# Java, Fortran and spreadsheets write a capital E. Seconds become negative or a hundred times another
# number, and the small ones only, since the large are written without an exponent.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
export DEBIAN_FRONTEND=noninteractive
installed() {
  local found
  found=$(dpkg-query -W -f='${Status} ${Version}' "$1" 2>/dev/null) || return 1
  [[ "$found" == "install ok installed "*"$2-"* ]]
}
need() {
  get() { apt-get install -qq -y --no-install-recommends "$1" >/dev/null 2>&1; }
  installed "$@" || get "$1" || { apt-get update -qq && get "$1"; } || true
  installed "$@" || { echo "No $1 $2 here" >&2; exit 1; }
}
need bc 1.07.1
for number in 1.0E-5 2.5E-3 1.5E+2 1E5 7.25E-1 0.00025; do
  echo "$number: $(echo "$number" | bc -l 2>&1)"
done >seen
refused=$(echo "1.0e-5" | bc -l 2>&1)
[[ "$refused" == *"syntax error"* ]] && echo "1.0e-5: syntax error" >>seen
cat seen
cat >expected <<'TEXT'
1.0E-5: -3.91
2.5E-3: -.41
1.5E+2: 3.59
1E5: 195
7.25E-1: 6.259
0.00025: .00025
1.0e-5: syntax error
TEXT
cmp -s seen expected || { echo "Changed: how bc reads exponents" >&2; exit 1; }
