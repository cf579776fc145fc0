#!/usr/bin/env bash
# csvsort of a column of answers 1/2 and 3/4 writes the dates 2001-01-02 and 2001-03-04; May is 0001-05-01.
#
# Versions: Debian's csvkit 1.0.7 with python3-agate 1.6.3.
# Behaviour: csvsort, csvjoin, csvjson and csvstat guess a type for each column and write the values in
# that type. Fractions, months and words such as "today" are dates, "10m" is a duration, and a column of
# 0 and 1 only is a truth value, which has no mean. -I turns the guesses off.
# A good engineer would guess: to sort or to join a table changes the order of its rows and nothing else,
# and a column of 0 and 1 has a mean.
# Output seen: 1/2 becomes 2001-01-02, May 0001-05-01, Today 0001-01-01, 10m 0:10:00, 1 True; csvstat
# --mean has no figure for passes 1, 0, 1.
# Why it matters: answers of a benchmark pass through such tools on the way to a table. What the model
# said is replaced, equal answers of two files differ, and the accuracy of a column of 0 and 1 is missing
# until one sample is scored 0.5.
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
need csvkit 1.0.7
need python3-agate 1.6.3
column() { printf '%s\n' "$@" >column.csv; }
{
  for values in "1/2 3/4" "May March" "Today Tomorrow" "10m 5s" "1 0"; do
    column answer $values
    echo "$values: $(csvsort -c answer column.csv 2>/dev/null | sed 1d | xargs)"
    echo "$values with -I: $(csvsort -I -c answer column.csv 2>/dev/null | sed 1d | xargs)"
  done
  column pass 1 0 1
  echo "mean of 1 0 1: $(csvstat --mean column.csv 2>/dev/null | tr -d ' ')"
  column pass 1 0 0.5
  echo "mean of 1 0 0.5: $(csvstat --mean column.csv 2>/dev/null | tr -d ' ')"
} >seen
cat seen
cat >expected <<'TEXT'
1/2 3/4: 2001-01-02 2001-03-04
1/2 3/4 with -I: 1/2 3/4
May March: 0001-03-01 0001-05-01
May March with -I: March May
Today Tomorrow: 0001-01-01 0001-01-02
Today Tomorrow with -I: Today Tomorrow
10m 5s: 0:00:05 0:10:00
10m 5s with -I: 10m 5s
1 0: False True
1 0 with -I: 0 1
mean of 1 0 1: None
mean of 1 0 0.5: 0.5
TEXT
cmp -s seen expected || { echo "Changed: the types that csvkit guesses" >&2; exit 1; }
