#!/usr/bin/env bash
# Python's csv does not read what it wrote, from 131,073 characters in a field on.
#
# Versions: Debian's python3 3.11.2.
# Behaviour: the reader has a limit of 131,072 characters for a field, the writer has none. The error names
# the field and no row; csv.field_size_limit() raises the limit.
# A good engineer would guess: a module reads its own files, and a limit, if any, is one of memory.
# Output seen: fields of 131,072 characters come back, of 131,073 raise "field larger than field limit
# (131072)", with DictReader as well; rows before it have been read by then.
# Why it matters: 131,072 characters are some 30,000 tokens. A table of prompts and answers works up to a
# context of 16K and breaks at 64K, after the run, where it is read.
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
need python3.11 3.11.2
cat >check.py <<'PY'
import csv

for length in (131_072, 131_073):
    with open("prompts.csv", "w", newline="") as file:
        csv.writer(file).writerows([["prompt", "answer"], ["short", "1"], ["a" * length, "2"]])
    for reader in (csv.reader, csv.DictReader):
        read = 0
        with open("prompts.csv", newline="") as file:
            try:
                for _ in reader(file):
                    read += 1
                print(f"{length} {reader.__name__}: {read} rows")
            except csv.Error as error:
                print(f"{length} {reader.__name__}: {error} after {read} rows")
csv.field_size_limit(1_000_000)
with open("prompts.csv", newline="") as file:
    print("with a higher limit:", [len(row[0]) for row in csv.reader(file)])
PY
/usr/bin/python3 check.py >seen
cat seen
cat >expected <<'TEXT'
131072 reader: 3 rows
131072 DictReader: 2 rows
131073 reader: field larger than field limit (131072) after 2 rows
131073 DictReader: field larger than field limit (131072) after 1 rows
with a higher limit: [6, 5, 131073]
TEXT
cmp -s seen expected || { echo "Changed: long fields in Python's csv" >&2; exit 1; }
