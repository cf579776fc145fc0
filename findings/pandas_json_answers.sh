#!/usr/bin/env bash
# pandas.read_json() turns strings of digits into numbers, and a column named decode_time into dates.
#
# Versions: Debian's python3-pandas 1.5.3, python3-numpy 1.24.2.
# Behaviour: the types of the JSON file do not count. A column of strings that all read as numbers
# becomes one of numbers, leading zeros, "1e5", "1_000" and " 12 " included. A column of numbers above
# 31,536,000 whose name ends with _time or _at, or begins with timestamp, becomes dates. One other
# string, or one small number, in the same column, and all of it stays as it is.
# A good engineer would guess: JSON says what is a string and what is a number; it is CSV that needs
# guessing.
# Output seen: "0123456" is 123456, "1e5" 100000, "1_000" 1000; 40,000,000,000 ns of decode_time are
# 1971-04-08; with an answer "abc" or a time of 5 below, text and number.
# Why it matters: RULER's needles are strings of digits. Read for scoring, an answer with a leading
# zero matches no reference; times in nanoseconds lose their meaning for slow runs only.
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
need python3-pandas 1.5.3
need python3-numpy 1.24.2
cat >check.py <<'PY'
import json
import pandas

print("pandas", pandas.__version__)


def read(*rows):
    with open("rows.jsonl", "w") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    return pandas.read_json("rows.jsonl", lines=True)


for text in ("0123456", "1e5", "1_000", " 12 ", "Infinity", "0x10", "true"):
    found = read({"answer": text}).answer
    print(f"{text!r} is {found[0]!s} of {found.dtype}")
print("with 'abc' below:", *map(repr, read({"answer": "0123456"}, {"answer": "abc"}).answer))
for name in ("decode_time", "decode_ns", "started_at", "timestamp_ns", "time_of_decode"):
    print(f"{name} 40000000000 is {read({name: 40_000_000_000})[name][0]!s}")
print("with 5 below:", *read({"decode_time": 40_000_000_000}, {"decode_time": 5}).decode_time)
PY
/usr/bin/python3 check.py >seen
cat seen
cat >expected <<'TEXT'
pandas 1.5.3
'0123456' is 123456 of int64
'1e5' is 100000 of int64
'1_000' is 1000 of int64
' 12 ' is 12 of int64
'Infinity' is inf of float64
'0x10' is 0x10 of object
'true' is true of object
with 'abc' below: '0123456' 'abc'
decode_time 40000000000 is 1971-04-08 23:06:40
decode_ns 40000000000 is 40000000000
started_at 40000000000 is 1971-04-08 23:06:40
timestamp_ns 40000000000 is 1971-04-08 23:06:40
time_of_decode 40000000000 is 40000000000
with 5 below: 40000000000 5
TEXT
cmp -s seen expected || { echo "Changed: how pandas reads strings and times from JSON" >&2; exit 1; }
