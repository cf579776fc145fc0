#!/usr/bin/env bash
# bc reads 1E-05 as 14 and 1E3 as 193.
#
# Versions: Debian's bc 1.07.1.
# Behaviour: E is a digit, too large for base ten, and counts as 9 inside of a number. What is behind it is
# subtracted, or more digits. A small e is a syntax error.
# A good engineer would guess: a calculator of any precision reads 1E-05, or refuses it.
# Output seen: 1E-05 is 14 (19 - 5), 1E3 193, 2.5E-3 -.41 (2.59 - 3), the mean of 9E-01 and 8E-01 93.00 for
# .85; 1e-05 a syntax error.
# Why it matters: bc is the calculator of shell scripts around runs. printf's %E and %G, Fortran, R's and
# Java's logs write such numbers, for learning rates, losses and p-values. As long as numbers are above
# 0.0001 all is right, and a smaller one becomes a plausible large one.
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
need bc 1.07.1
value() { echo "scale=2; $1" | bc 2>/dev/null; }
{
  for number in 0.5 1E-05 1E3 2.5E-3 '(9E-01 + 8E-01) / 2' 1e-05; do
    echo "$number: $(value "$number")"
  done
  small=$(LC_ALL=C printf '%G' 0.00001)
  echo "printf %G of 0.00001: $small, in bc $(value "$small")"
} >seen
cat seen
cat >expected <<'TEXT'
0.5: .5
1E-05: 14
1E3: 193
2.5E-3: -.41
(9E-01 + 8E-01) / 2: 93.00
1e-05: 
printf %G of 0.00001: 1E-05, in bc 14
TEXT
cmp -s seen expected || { echo "Changed: numbers with an exponent in bc" >&2; exit 1; }
