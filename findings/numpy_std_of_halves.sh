#!/usr/bin/env bash
# numpy adds halves in f32 for a mean and in f16 for a deviation: equal numbers deviate, or the
# deviation is infinite.
#
# Versions: Debian's python3-numpy 1.24.2; 2.4.6 does the same.
# Behaviour: mean() and sum() have their own rule for float16 and are right. std() and var() compute
# their mean by a plain reduction of halves. Along the first axis of 4,096 ones it stops at 2,048, so
# that the mean inside of std() is 0.5; above 65,504 it is infinite.
# A good engineer would guess: std() uses the mean that mean() gives, so that equal numbers have
# deviation 0 and a number far from f16's limits has a finite one.
# Output seen: columns of ones have mean 1 and std 0.3535; 4,096 times 20 has mean 20 and std inf.
# Why it matters: activations, caches and scores of language models are kept as halves, and their
# deviation is what a LayerNorm, an outlier test or a report of a layer asks for. At a hidden size of
# 4,096 a mean of 16 is enough for infinity, and a short vector in a test is right.
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
need python3-numpy 1.24.2
cat >check.py <<'PY'
import warnings
import numpy
warnings.simplefilter("ignore", RuntimeWarning)
def say(what, x, **axis):
    print(what, "mean", x.mean(**axis).max(), "std", round(float(x.std(**axis).max()), 4))
ones = numpy.ones((4096, 2), numpy.float16)
say("axis 0 of ones:", ones, axis=0)
say("axis 1 of the transposed copy:", ones.T.copy(), axis=1)
for count in (2048, 4096):
    say(f"{count} times 20:", numpy.full(count, 20, numpy.float16))
say("4096 times 20 in f32:", numpy.full(4096, 20, numpy.float32))
PY
/usr/bin/python3 check.py >seen
cat seen
cat >expected <<'TEXT'
axis 0 of ones: mean 1.0 std 0.3535
axis 1 of the transposed copy: mean 1.0 std 0.0
2048 times 20: mean 20.0 std 0.0
4096 times 20: mean 20.0 std inf
4096 times 20 in f32: mean 20.0 std 0.0
TEXT
cmp -s seen expected || { echo "Changed: the deviation of halves in numpy" >&2; exit 1; }
