#!/usr/bin/env bash
# SQLite's .import makes a table in which the largest length of 999, 4096 and 131072 is 999.
#
# Versions: Debian's sqlite3 3.40.1.
# Behaviour: a table that .import makes has columns of text. sum() and avg() read numbers out of the texts;
# max(), min(), order by and comparisons with a number go letter by letter.
# A good engineer would guess: columns of numbers are numbers, or all of it is text and sum() fails.
# Output seen: max 999, min 131072, sum 201703 and average right; of 999, 4096, 65536 and 131072 those above
# 5000 are 999 and 65536. With a table declared before, all is right.
# Why it matters: tables of results are looked at this way. The total agrees, so that the import seems right,
# and "where length > 5000" takes short contexts and leaves 128K out.
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
need sqlite3 3.40.1
printf '%s\n' length,score 999,0.9 4096,0.8 65536,0.7 131072,0.6 >runs.csv
show() {
  sqlite3 runs.db "select '$1: max ' || max(length) || ', min ' || min(length) || ', sum ' || sum(length) ||
    ', average ' || avg(length) from $1"
  sqlite3 runs.db "select '$1 above 5000: ' || group_concat(length, ' ') from $1 where length > 5000"
}
sqlite3 runs.db '.mode csv' '.import runs.csv imported'
sqlite3 runs.db 'create table declared (length integer, score real)' '.mode csv' \
  '.import --skip 1 runs.csv declared'
{ show imported; show declared; } >seen
cat seen
cat >expected <<'TEXT'
imported: max 999, min 131072, sum 201703, average 50425.75
imported above 5000: 999 65536
declared: max 131072, min 999, sum 201703, average 50425.75
declared above 5000: 65536 131072
TEXT
cmp -s seen expected || { echo "Changed: columns of SQLite's .import" >&2; exit 1; }
