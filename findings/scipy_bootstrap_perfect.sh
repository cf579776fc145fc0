#!/usr/bin/env bash
# scipy's bootstrap gives no interval for a perfect score, and one for any other.
#
# Versions: Debian's python3-scipy 1.10.1 with python3-numpy 1.24.2.
# Behaviour: the default method ("BCa") corrects by a jackknife, which divides by the spread of the
# samples. If all samples are equal both ends are NaN, with a warning; so they are if all are
# wrong. method="percentile" gives the point itself.
# A good engineer would guess: resampling equal values gives equal means, so that the interval is
# that value; a NaN comes from a NaN.
# Output seen: ten times 100 gives nan nan, one miss among ten gives numbers; percentile 100 100.
# Why it matters: tasks of needle-in-a-haystack kind are solved wholly at short lengths. The best
# rows of a table lose their error bars, JSON gets a NaN that other readers refuse, and a chart
# drops the points.
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
need python3-scipy 1.10.1
need python3-numpy 1.24.2
cat >check.py <<'PY'
import warnings
import numpy
from scipy.stats import bootstrap
warnings.simplefilter("ignore")
perfect, failed = [100.0] * 10, [0.0] * 10
missed = [100.0] * 9 + [0.0]
for name, scores in ("perfect", perfect), ("failed", failed), ("one missed", missed):
    for method in "BCa", "percentile":
        ends = bootstrap((scores,), numpy.mean, method=method, random_state=1).confidence_interval
        known = "known" if not numpy.isnan(ends).any() else "unknown"
        inside = ends[0] <= numpy.mean(scores) <= ends[1]
        print(f"{name}, {method}: {known}", "around the mean" if inside else "")
PY
/usr/bin/python3 check.py | sed 's/ *$//' >seen
cat seen
cat >expected <<'TEXT'
perfect, BCa: unknown
perfect, percentile: known around the mean
failed, BCa: unknown
failed, percentile: known around the mean
one missed, BCa: known around the mean
one missed, percentile: known around the mean
TEXT
cmp -s seen expected || { echo "Changed: scipy's bootstrap of equal samples" >&2; exit 1; }
