#!/usr/bin/env bash
# numexpr's sum() of int32 wraps and of float32 stops at 2**24, and -7 % 3 is -1: numpy says none of
# these.
#
# Versions: Debian's python3-numexpr 2.8.4, python3-numpy 1.24.2.
# Behaviour: a sum has the type of its argument and is added one by one; numpy adds in pairs, and
# int32 in 64 bits. % of integers is C's, and of doubles Python's. max() leaves a NaN out, wherever it
# is, and numpy.max() is NaN.
# A good engineer would guess: evaluate("sum(x)") is numpy's x.sum(), faster: the package speaks
# numpy's names and says that it evaluates numpy expressions.
# Output seen: 100 times 100,000,000: 1410065408; 33,554,432 ones: 16777216; -7 % 3: -1, numpy 2; max
# of 1, NaN, 0: 1.
# Why it matters: positions relative to a window are taken modulo the page, which turns negative, and
# sums of tokens over a corpus are 32-bit columns.
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
need python3-numexpr 2.8.4
need python3-numpy 1.24.2
cat >check.py <<'PY'
import numexpr
import numpy

print("numexpr", numexpr.__version__, "numpy", numpy.__version__)
numexpr.set_num_threads(1)
cases = (
    ("sum(x)", numpy.full(100, 100_000_000, numpy.int32), numpy.sum),
    ("sum(x)", numpy.ones(1 << 25, numpy.float32), numpy.sum),
    ("max(x)", numpy.array([1, numpy.nan, 0]), numpy.max),
    ("x % 3", numpy.array([7, -7], numpy.int32), lambda x: x % 3),
    ("x % 3", numpy.array([7.0, -7.0]), lambda x: x % 3),
)
for text, x, function in cases:
    found = numexpr.evaluate(text)
    print(f"{text} of {len(x)} {x.dtype}: {found.tolist()} of {found.dtype}, numpy {function(x).tolist()}")
PY
/usr/bin/python3 check.py >seen
cat seen
cat >expected <<'TEXT'
numexpr 2.8.4 numpy 1.24.2
sum(x) of 100 int32: 1410065408 of int32, numpy 10000000000
sum(x) of 33554432 float32: 16777216.0 of float32, numpy 33554432.0
max(x) of 3 float64: 1.0 of float64, numpy nan
x % 3 of 2 int32: [1, -1] of int32, numpy [1, 2]
x % 3 of 2 float64: [1.0, 2.0] of float64, numpy [1.0, 2.0]
TEXT
cmp -s seen expected || { echo "Changed: types and rules of numexpr" >&2; exit 1; }
