#!/usr/bin/env bash
# In pandas x == 0.1 is true for 1,000,000 f32 numbers 0.1 and false for 1,000,001, if numexpr is installed.
#
# Versions: Debian's python3-pandas 1.5.3, python3-numexpr 2.8.4, python3-numpy 1.24.2.
# Behaviour: columns of more than a million rows are compared by numexpr, where it is installed. It compares
# f32 with a Python number in double; numpy rounds the number to f32 first.
# A good engineer would guess: numexpr makes it faster, and a comparison does not depend on the length of the
# table.
# Output seen: of 1,000,000 rows all equal 0.1 and all are <= 0.1, of 1,000,001 rows none; with numexpr
# switched off all again.
# Why it matters: thresholds over scores of a long run: x <= 0.1 keeps all rows in the test and in each task,
# and none in the joined table of all tasks. It depends on a package that nothing imports.
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
need python3-numexpr 2.8.4
need python3-numpy 1.24.2
cat >check.py <<'PY'
import numexpr
import numpy
import pandas

print("pandas", pandas.__version__, "numexpr", numexpr.__version__, "numpy", numpy.__version__)
for used in (True, False):
    pandas.set_option("compute.use_numexpr", used)
    for rows in (1000, 1_000_000, 1_000_001):
        scores = pandas.Series(numpy.full(rows, 0.1, "float32"))
        equal, within = int((scores == 0.1).sum()), int((scores <= 0.1).sum())
        print(f"numexpr {used}, {rows} rows: {equal} equal, {within} within")
PY
/usr/bin/python3 check.py >seen
cat seen
cat >expected <<'TEXT'
pandas 1.5.3 numexpr 2.8.4 numpy 1.24.2
numexpr True, 1000 rows: 1000 equal, 1000 within
numexpr True, 1000000 rows: 1000000 equal, 1000000 within
numexpr True, 1000001 rows: 0 equal, 0 within
numexpr False, 1000 rows: 1000 equal, 1000 within
numexpr False, 1000000 rows: 1000000 equal, 1000000 within
numexpr False, 1000001 rows: 1000001 equal, 1000001 within
TEXT
cmp -s seen expected || { echo "Changed: comparisons of long f32 columns in pandas" >&2; exit 1; }
