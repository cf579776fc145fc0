#!/usr/bin/env bash
# mawk takes words that begin with "inf" or "nan" for numbers: "infer" + 0 is infinite, "nano" is NaN.
#
# Versions: Debian's mawk 1.3.4.20200120 (awk, as Debian comes) and gawk 5.2.1.
# Behaviour: a field becomes a number by C's strtod(), which takes as much of the text's beginning as
# it can. "inf", "nan" and hexadecimal numbers count, in any case. gawk gives 0 for all of these.
# A good engineer would guess: a word is 0 in a sum, as in every awk; that is why lines of text between
# the numbers do no harm.
# Output seen: infer and Information are inf, nano and Nancy nan, 0x10 is 16; in gawk all are 0. The
# sum of a column of 1, 2 and the word "info" is inf in mawk and 3 in gawk.
# Why it matters: a log has lines "info loaded" and "inference 12.5" between its figures. One script
# sums it to 3 on a laptop and to inf or nan in a container, by the awk that is installed, and a rule
# such as $1 > limit picks up lines of text.
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
{
  for awk in mawk gawk; do
    for word in infer Information nano Nancy 0x10 word; do
      echo "$awk $word: $(echo "$word" | "$awk" '{ print $1 + 0 }')"
    done
    echo "$awk sum: $(printf '1\ninfo\n2\n' | "$awk" '{ sum += $1 } END { print sum }')"
    echo "$awk lines above 100: $(printf 'infer a\nload b\n7 c\n' | "$awk" '$1 + 0 > 100' | wc -l)"
  done
} | sed 's/-nan/nan/' >seen
cat seen
cat >expected <<'TEXT'
mawk infer: inf
mawk Information: inf
mawk nano: nan
mawk Nancy: nan
mawk 0x10: 16
mawk word: 0
mawk sum: inf
mawk lines above 100: 1
gawk infer: 0
gawk Information: 0
gawk nano: 0
gawk Nancy: 0
gawk 0x10: 0
gawk word: 0
gawk sum: 3
gawk lines above 100: 0
TEXT
cmp -s seen expected || { echo "Changed: words that mawk takes for numbers" >&2; exit 1; }
