#!/usr/bin/env bash
# Inside numba, sum() and mean() of float32 add one by one: the mean of 33,554,432 ones is 0.5.
#
# Versions: Debian's python3-numba 0.56.4, python3-numpy 1.24.2.
# Behaviour: numpy adds in pairs, numba's own sum() and mean() keep one float32 and stop at 2**24.
# std() is 0.5. Integers of 32 bits are added in 64.
# A good engineer would guess: @njit compiles numpy's functions, and results differ in the last digit
# at most.
# Output seen: sum 16777216, mean 0.5, std 0.5; numpy 33554432, 1.0, 0.0. The mean of ten million 0.1
# is 0.1088.
# Why it matters: losses over tokens and norms of caches are float32 arrays of this size. A function
# gets another result by one decorator that was added for speed.
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
need python3-numba 0.56.4
need python3-numpy 1.24.2
cat >check.py <<'PY'
import numba
import numpy


def describe(x):
    return x.sum(), x.mean(), x.std()


print("numba", numba.__version__, "numpy", numpy.__version__)
ones = numpy.ones(1 << 25, numpy.float32)
for name, function in (("numpy", describe), ("numba", numba.njit(describe))):
    total, mean, std = (float(value) for value in function(ones))
    print(f"{name}: sum {total:.0f}, mean {mean}, std {std}")
tenth = numpy.full(10_000_000, 0.1, numpy.float32)
for name, function in (("numpy", describe), ("numba", numba.njit(describe))):
    print(f"{name}: mean of ten million 0.1: {float(function(tenth)[1]):.4f}")
small = numpy.full(100, 100_000_000, numpy.int32)
print("int32:", int(numba.njit(lambda x: x.sum())(small)))
PY
/usr/bin/python3 check.py >seen
cat seen
cat >expected <<'TEXT'
numba 0.56.4 numpy 1.24.2
numpy: sum 33554432, mean 1.0, std 0.0
numba: sum 16777216, mean 0.5, std 0.5
numpy: mean of ten million 0.1: 0.1000
numba: mean of ten million 0.1: 0.1088
int32: 10000000000
TEXT
cmp -s seen expected || { echo "Changed: how numba adds float32" >&2; exit 1; }
