#!/usr/bin/env bash
# A numpy integer put into SQLite is a blob: the sum of 5, 7 and 9 tokens is 0.
#
# Versions: Debian's python3 3.11.2 with its sqlite3, python3-numpy 1.24.2, SQLite 3.40.1.
# Behaviour: sqlite3 knows int, float, str and anything that shows its bytes. numpy's scalars do, so that
# an int64 is stored as 8 bytes and a float32 as 4, in columns declared INTEGER and REAL, too. Only
# float64 is a float of Python.
# A good engineer would guess: a number is stored as a number, or refused, as a list is; json refuses it.
# Output seen: int64 and int32 are blobs and their sum is 0.0, float64 is real, float32 is a blob; all blobs
# are more than any number, so that three of three rows have more than 1000 tokens; a list is refused.
# Why it matters: lengths and scores of a run come out of arrays. They are stored without an error, totals are
# 0, a mean counts the f32 rows as 0, and filters take every row.
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
need python3-numpy 1.24.2
need python3.11 3.11.2
need libsqlite3-0 3.40.1
cat >check.py <<'PY'
import sqlite3

import numpy

print("sqlite", sqlite3.sqlite_version, "numpy", numpy.__version__)
base = sqlite3.connect(":memory:")
base.execute("create table runs (tokens integer, score real)")
rows = [
    (numpy.int64(5), numpy.float32(0.5)),
    (numpy.int64(7), numpy.float64(0.25)),
    (numpy.int32(9), numpy.float32(0.5)),
]
base.executemany("insert into runs values (?, ?)", rows)
for row in base.execute("select typeof(tokens), tokens, typeof(score), score from runs"):
    print(*row)
print("sum", *base.execute("select sum(tokens), avg(score) from runs").fetchone())
print("above 1000", *base.execute("select count(*) from runs where tokens > 1000").fetchone())
base.execute("create table plain (tokens integer)")
base.executemany("insert into plain values (?)", [(int(tokens),) for tokens, _ in rows])
print("sum of int()", *base.execute("select sum(tokens) from plain").fetchone())
try:
    base.execute("insert into plain values (?)", ([5],))
except Exception:
    print("a list is refused")
PY
/usr/bin/python3 check.py >seen
cat seen
cat >expected <<'TEXT'
sqlite 3.40.1 numpy 1.24.2
blob b'\x05\x00\x00\x00\x00\x00\x00\x00' blob b'\x00\x00\x00?'
blob b'\x07\x00\x00\x00\x00\x00\x00\x00' real 0.25
blob b'\t\x00\x00\x00' blob b'\x00\x00\x00?'
sum 0.0 0.08333333333333333
above 1000 3
sum of int() 21
a list is refused
TEXT
cmp -s seen expected || { echo "Changed: numpy's numbers in SQLite" >&2; exit 1; }
