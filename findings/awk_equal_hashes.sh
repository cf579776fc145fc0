#!/usr/bin/env bash
# awk's == finds two different hashes equal: 0e123456 and 00000000, or in gawk 1e999999 and 2e888888.
#
# Versions: Debian's mawk 1.3.4.20200120 and gawk 5.2.1.
# Behaviour: a field that looks like a number is compared as one. Digits around one e are a number with
# an exponent: 0 before the e makes zero, and in gawk a result above 1e308 infinity.
# A good engineer would guess: a field is text until one calculates with it; the hashes of one file stay
# unequal.
# Output seen: in both, 0e123456 equals 00000000, 7e2 equals 700 and 07 equals 7, in gawk 1e999999 equals
# 2e888888 too; with "" behind one side none are. Of four hashes in a row gawk counts one and mawk two,
# as 0e12345 also equals a variable that was never set.
# Why it matters: outputs of two runs are compared by a column of short hashes (of commits, of answers),
# and a stream without repeats is made by $1 != last. One in some fifty hashes of seven digits has that
# form, so that large tables have such pairs: a changed answer is reported as the same.
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
need mawk 1.3.4.20200120
need gawk 5.2.1
for awk in mawk gawk; do
  printf '%s\n' '0e123456 00000000' '1e999999 2e888888' '7e2 700' '07 7' 'ab12 ab13' |
    "$awk" '{ print $1, $2, $1 == $2 ? "equal" : "not", $1 "" == $2 ? "equal" : "not" }' |
    sed "s/^/$awk /"
  kept=$(printf '%s\n' 0e12345 0e54321 1e999999 2e888888 |
    "$awk" '$1 != last { n++ } { last = $1 } END { print n }')
  echo "$awk counts $kept of 4 hashes"
done >seen
cat seen
cat >expected <<'TEXT'
mawk 0e123456 00000000 equal not
mawk 1e999999 2e888888 not not
mawk 7e2 700 equal not
mawk 07 7 equal not
mawk ab12 ab13 not not
mawk counts 2 of 4 hashes
gawk 0e123456 00000000 equal not
gawk 1e999999 2e888888 equal not
gawk 7e2 700 equal not
gawk 07 7 equal not
gawk ab12 ab13 not not
gawk counts 1 of 4 hashes
TEXT
cmp -s seen expected || { echo "Changed: how awk compares hashes" >&2; exit 1; }
