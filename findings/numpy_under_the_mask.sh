#!/usr/bin/env bash
# numpy's stack(), dot(), corrcoef(), histogram() and norm() use the numbers under a mask.
#
# Versions: Debian's python3-numpy 1.24.2.
# Behaviour: a masked array is an array with a mask beside it. Functions that call a method of the array
# (mean, std, sort, clip, roll) honour the mask, those written over the bare array do not see it, and nothing
# but the code tells which is which. No warning is given.
# A good engineer would guess: a function that takes a masked array without an error honours its mask; mean()
# and std() of the same module do.
# Output seen: for 1 2 1000 4 with 1000 masked the mean is 2.33, and of stack([x, x]) 251.75; norm 1000.01
# for 4.58, dot with ones 1007 for 7, the histogram counts 4 for 3, the correlation with 0 1 2 3 is 0.26 for
# 1.00 (to two places), cov 248836.25 for 2.33.
# Why it matters: padding and failed samples are masked. The mean of a task is right, the mean of tasks
# stacked is that of the padding, and correlations with length are those of the fill value.
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
cat >check.py <<'PY'
import numpy

print("numpy", numpy.__version__)
masked = numpy.ma.array([1.0, 2.0, 1000.0, 4.0], mask=[False, False, True, False])
cases = {
    "mean": lambda x, at: numpy.mean(x),
    "std": lambda x, at: numpy.std(x),
    "mean of clip": lambda x, at: numpy.clip(x, 0, 3).mean(),
    "mean of roll": lambda x, at: numpy.roll(x, 1).mean(),
    "mean of stack": lambda x, at: numpy.stack([x, x]).mean(),
    "dot": lambda x, at: numpy.dot(x, numpy.ones(len(x))),
    "norm": lambda x, at: numpy.linalg.norm(x),
    "cov": lambda x, at: numpy.cov(x),
    "corrcoef": lambda x, at: numpy.corrcoef(x, at)[0, 1],
    "histogram": lambda x, at: numpy.histogram(x, bins=[0, 10, 2000])[0].sum(),
}
at = numpy.arange(4.0)
for name, of in cases.items():
    print(f"{name}: {float(of(masked, at)):.2f}, without it {float(of(masked.compressed(), at[~masked.mask])):.2f}")
PY
/usr/bin/python3 check.py >seen
cat seen
cat >expected <<'TEXT'
numpy 1.24.2
mean: 2.33, without it 2.33
std: 1.25, without it 1.25
mean of clip: 2.00, without it 2.00
mean of roll: 2.33, without it 2.33
mean of stack: 251.75, without it 2.33
dot: 1007.00, without it 7.00
norm: 1000.01, without it 4.58
cov: 248836.25, without it 2.33
corrcoef: 0.26, without it 1.00
histogram: 4.00, without it 3.00
TEXT
cmp -s seen expected || { echo "Changed: masked arrays in functions of numpy" >&2; exit 1; }
