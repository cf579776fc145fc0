#!/usr/bin/env bash
# One NaN or masked score changes all later numbers of scipy's uniform_filter1d().
#
# Versions: Debian's python3-scipy 1.10.1, python3-numpy 1.24.2; scipy 1.17.1 does the same.
# Behaviour: the filter keeps a running sum, adds the number that enters the window and subtracts
# the one that leaves it. NaN and infinity never leave, and a large number takes the digits of the
# others along. numpy.convolve() has no such memory.
# A good engineer would guess: a window of five numbers depends on five numbers.
# Output seen: 2,000 numbers between 0 and 1, of which number 10 is replaced: all 1,985 means behind
# its windows are NaN for NaN and -inf, and wrong for -3.4e38 (0.0166 for 0.3764 at place 1,000);
# none of convolve() is.
# Why it matters: scores over positions are smoothed before blocks are selected, and hidden or
# broken ones are NaN, -inf or the lowest f32. One at the beginning of a long row decides about all
# of it.
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
need python3-scipy 1.10.1
need python3-numpy 1.24.2
cat >check.py <<'PY'
import numpy
import scipy
from scipy.ndimage import uniform_filter1d

numpy.seterr(all="ignore")
print("scipy", scipy.__version__, "numpy", numpy.__version__)
scores = numpy.random.default_rng(0).random(2000)
fifth = numpy.ones(5) / 5
clean = numpy.convolve(scores, fifth, "same")
for bad in (1.0, float("nan"), float("-inf"), -3.4e38):
    changed = scores.copy()
    changed[10] = bad
    filtered, convolved = uniform_filter1d(changed, 5), numpy.convolve(changed, fifth, "same")
    # Number 10 is in the windows 8 to 12, and the ends are handled otherwise.
    off = [int((~(numpy.abs(means - clean) < 1e-9))[13:-2].sum()) for means in (filtered, convolved)]
    print(f"number 10 is {bad}: wrong means behind its windows: uniform_filter1d {off[0]}, convolve {off[1]} "
          f"of {len(clean[13:-2])}; mean 1000 {filtered[1000]:.4f} for {clean[1000]:.4f}")
PY
/usr/bin/python3 check.py >seen
cat seen
cat >expected <<'TEXT'
scipy 1.10.1 numpy 1.24.2
number 10 is 1.0: wrong means behind its windows: uniform_filter1d 0, convolve 0 of 1985; mean 1000 0.3764 for 0.3764
number 10 is nan: wrong means behind its windows: uniform_filter1d 1985, convolve 0 of 1985; mean 1000 nan for 0.3764
number 10 is -inf: wrong means behind its windows: uniform_filter1d 1985, convolve 0 of 1985; mean 1000 nan for 0.3764
number 10 is -3.4e+38: wrong means behind its windows: uniform_filter1d 1985, convolve 0 of 1985; mean 1000 0.0166 for 0.3764
TEXT
cmp -s seen expected || { echo "Changed: uniform_filter1d() behind a broken score" >&2; exit 1; }
