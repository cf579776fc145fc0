#!/usr/bin/env bash
# pandas writes 1e-12 into JSON as 0.0, and reads a third of its own CSV's numbers as neighbours.
#
# Versions: Debian's python3-pandas 1.5.3, python3-numpy 1.24.2.
# Behaviour: to_json() keeps 10 digits behind the point, whatever the size of a number
# (double_precision, 15 at most). to_csv() writes every digit, but read_csv() parses with a faster
# rule that misses the nearest double by one step; float_precision="round_trip" does not.
# A good engineer would guess: a double that is written as text and read again is the same, as with
# json, numpy and repr() of Python itself.
# Output seen: 1e-12 is 0.0 and 1/3 is 0.3333333333; of 10,000 random numbers 3,597 come back
# otherwise from CSV, 0 with round_trip, and 10,000 from JSON.
# Why it matters: probabilities of tokens far down the list become exactly 0 and their logarithm
# infinite. Bits that two runs should share differ after one of them went through a file.
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
import numpy
import pandas

print("pandas", pandas.__version__)
small = pandas.DataFrame({"p": [1e-12, 1 / 3, 4e-11]})
print("to_json", small.to_json(orient="values"), "json", json.dumps(small.p.tolist()))
print("to_json with 15", small.to_json(orient="values", double_precision=15))
numbers = numpy.random.RandomState(0).rand(10_000)
table = pandas.DataFrame({"x": numbers})
table.to_csv("x.csv", index=False)
table.to_json("x.json")
for name, again in (
    ("read_csv", pandas.read_csv("x.csv")),
    ("read_csv round_trip", pandas.read_csv("x.csv", float_precision="round_trip")),
    ("to_json, read_json", pandas.read_json("x.json")),
    ("numpy.loadtxt", {"x": numpy.loadtxt("x.csv", skiprows=1)}),
):
    print(f"{name}: {int((numpy.asarray(again['x']) != numbers).sum())} of 10000 differ")
PY
/usr/bin/python3 check.py >seen
cat seen
cat >expected <<'TEXT'
pandas 1.5.3
to_json [[0.0],[0.3333333333],[0.0]] json [1e-12, 0.3333333333333333, 4e-11]
to_json with 15 [[0.000000000001],[0.333333333333333],[0.00000000004]]
read_csv: 3597 of 10000 differ
read_csv round_trip: 0 of 10000 differ
to_json, read_json: 10000 of 10000 differ
numpy.loadtxt: 0 of 10000 differ
TEXT
cmp -s seen expected || { echo "Changed: the digits that pandas writes and reads" >&2; exit 1; }
