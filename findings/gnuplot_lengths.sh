#!/usr/bin/env bash
# gnuplot draws 128K at 128 and 1M at 1.
#
# Versions: Debian's gnuplot-nox 5.4.4.
# Behaviour: a field of data is read as far as it is a number, and what follows is dropped: 1,024 is 1 as
# well, and 1_000 too. Only a field that does not begin as a number is undefined, and left out.
# A good engineer would guess: what is no number is missing, with a warning, as "n/a" is.
# Output seen: 32K, 64K, 128K, 1M are 32, 64, 128 and 1, 1,024 and 1_000 are 1; n/a is left out.
# Why it matters: lengths are written 32K to 1M. The curve looks right up to 512K, and the longest context
# is drawn as the shortest, joined by a line across the figure; mean and fit take it as 1.
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
need gnuplot-nox 5.4.4
printf '%s\n' '32K 90' '64K 80' '128K 70' '1M 40' '1,024 99' '1_000 99' 'n/a 50' >scores.txt
gnuplot <<'PLOT'
set table "drawn.txt"
plot "scores.txt" using 1:2
PLOT
awk '!/^ *#/ && NF { print "x", $1, "y", $2 }' drawn.txt >seen
cat seen
cat >expected <<'TEXT'
x 32 y 90
x 64 y 80
x 128 y 70
x 1 y 40
x 1 y 99
x 1 y 99
TEXT
cmp -s seen expected || { echo "Changed: lengths with a letter in gnuplot" >&2; exit 1; }
