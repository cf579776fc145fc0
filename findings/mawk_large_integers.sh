#!/usr/bin/env bash
# mawk prints a sum of 3,000,000,000 as 3e+09, and with %d as 2147483647.
#
# Versions: Debian's mawk 1.3.4.20200120 (awk, as Debian comes) and gawk 5.2.1.
# Behaviour: whole numbers are printed as such up to 2^31 - 1, above it by "%.6g" as fractions are; printf's
# %d stops there, too. The number itself is a double, and right. gawk prints whole numbers up to 2^53.
# A good engineer would guess: a whole number is printed whole, as POSIX has it, at least as far as doubles
# hold it; %d is 64 bits.
# Output seen: 2147483647 is right, 2147483648 is 2.14748e+09, 3000000000 3e+09 and 2147483647 with %d,
# 12345678901 1.23457e+10; %.0f is right; gawk is right in all.
# Why it matters: bytes of a cache and tokens of a corpus pass 2^31. Totals lose all digits but six, or are
# all 2147483647, on the awk of Debian's containers, and are right in small tests and on gawk.
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
need mawk 1.3.4.20200120
need gawk 5.2.1
for awk in mawk gawk; do
  for number in 2147483647 2147483648 3000000000 12345678901; do
    printf '%s\n' "$number" 0 | "$awk" -v awk="$awk" \
      '{ sum += $1 } END { printf "%s: ", awk; print sum, sprintf("%d", sum), sprintf("%.0f", sum) }'
  done
done >seen
cat seen
cat >expected <<'TEXT'
mawk: 2147483647 2147483647 2147483647
mawk: 2.14748e+09 2147483647 2147483648
mawk: 3e+09 2147483647 3000000000
mawk: 1.23457e+10 2147483647 12345678901
gawk: 2147483647 2147483647 2147483647
gawk: 2147483648 2147483648 2147483648
gawk: 3000000000 3000000000 3000000000
gawk: 12345678901 12345678901 12345678901
TEXT
cmp -s seen expected || { echo "Changed: large whole numbers in mawk" >&2; exit 1; }
