#!/usr/bin/env bash
# scipy's cosine() of 8-bit vectors multiplies in 8 bits: nearly equal vectors are opposite.
#
# Versions: Debian's python3-scipy 1.10.1, python3-numpy 1.24.2.
# Behaviour: scipy.spatial.distance.cosine() forms u * v in the type of its inputs, so that products
# wrap at 128, and euclidean(), cityblock() and chebyshev() of uint8 wrap in u - v. correlation() and
# sqeuclidean() beside them convert to double first, and so does cdist() by the same name of a metric.
# A good engineer would guess: distances are computed in double, as cdist() of the same module does.
# Output seen: int8 vectors with a distance of 0.004 have 1.390, more than a right angle; uint8
# euclidean 348.0 for 17.3, chebyshev 246 for 10; cdist right in all.
# Why it matters: embeddings and caches are kept in 8 bits. The check of a quantized search by this
# function finds it broken, or a broken one right, and uint8 codes look far from their neighbours.
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
from scipy.spatial import distance

print("scipy", scipy.__version__, "numpy", numpy.__version__)
pairs = {
    "int8": ([100, 50, -100], [100, 60, -90]),
    "uint8": ([200, 100, 50], [210, 90, 60]),
}
for dtype, pair in pairs.items():
    a, b = (numpy.array(values, dtype) for values in pair)
    for name in ("cosine", "correlation", "euclidean", "sqeuclidean", "cityblock", "chebyshev"):
        found = float(getattr(distance, name)(a, b))
        right = float(getattr(distance, name)(a.astype(float), b.astype(float)))
        both = float(distance.cdist([a], [b], name)[0, 0])
        print(f"{dtype} {name}: {found:.3f}, of doubles {right:.3f}, cdist {both:.3f}")
PY
/usr/bin/python3 check.py >seen
cat seen
cat >expected <<'TEXT'
scipy 1.10.1 numpy 1.24.2
int8 cosine: 1.390, of doubles 0.004, cdist 0.004
int8 correlation: 0.001, of doubles 0.001, cdist 0.001
int8 euclidean: 14.142, of doubles 14.142, cdist 14.142
int8 sqeuclidean: 200.000, of doubles 200.000, cdist 200.000
int8 cityblock: 20.000, of doubles 20.000, cdist 20.000
int8 chebyshev: 10.000, of doubles 10.000, cdist 10.000
uint8 cosine: 0.083, of doubles 0.002, cdist 0.002
uint8 correlation: 0.010, of doubles 0.010, cdist 0.010
uint8 euclidean: 348.040, of doubles 17.321, cdist 17.321
uint8 sqeuclidean: 300.000, of doubles 300.000, cdist 300.000
uint8 cityblock: 502.000, of doubles 30.000, cdist 30.000
uint8 chebyshev: 246.000, of doubles 10.000, cdist 10.000
TEXT
cmp -s seen expected || { echo "Changed: 8-bit vectors in scipy.spatial.distance" >&2; exit 1; }
