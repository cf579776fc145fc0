#!/usr/bin/env bash
# After .import of a CSV file in SQLite, 131072 is not above 9000, and the largest length is 9.
#
# Versions: Debian's sqlite3 3.40.1.
# Behaviour: a table that .import makes has columns of type TEXT. Such a column turns the number it is
# compared with into text, so that digits are compared by letters; sum() and avg() turn the text into
# numbers, and give what one expects.
# A good engineer would guess: either the numbers of a CSV file are numbers, or a comparison of text and
# number goes by the number, as the sums over the same column do.
# Output seen: of lengths 131072, 8192 and 9 none is above 9000, max() is 9 and min() 131072, and the order
# is 131072, 8192, 9; the average is 46424.33.
# Why it matters: results in CSV are looked at with this shell. "Samples above 32k" are others than these,
# the best of three scores 0.5, .75 and 1e-3 is 1e-3, and the averages beside them are right.
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
need sqlite3 3.40.1
printf '%s\n' model,length a,131072 b,8192 c,9 >runs.csv
printf '%s\n' score 0.5 .75 1e-3 >scores.csv
sqlite3 :memory: ".import --csv runs.csv runs" ".import --csv scores.csv scores" \
  "SELECT 'above 9000', count(*) FROM runs WHERE length > 9000" \
  "SELECT 'max and min', max(length), min(length) FROM runs" \
  "SELECT 'order', group_concat(length, ' ') FROM (SELECT length FROM runs ORDER BY length)" \
  "SELECT 'average', round(avg(length), 2) FROM runs" \
  "SELECT 'best score', max(score) FROM scores" \
  "SELECT 'above 9000 as numbers', count(*) FROM runs WHERE length + 0 > 9000" >seen
cat seen
cat >expected <<'TEXT'
above 9000|0
max and min|9|131072
order|131072 8192 9
average|46424.33
best score|1e-3
above 9000 as numbers|1
TEXT
cmp -s seen expected || { echo "Changed: numbers that SQLite's shell imports" >&2; exit 1; }
