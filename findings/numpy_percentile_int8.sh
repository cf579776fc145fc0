#!/usr/bin/env bash
# numpy's percentile() of -100 and 100 in int8 is 128 at 50 %, and pandas' describe() has the quartiles
# -114, 128 and 114.
#
# Versions: Debian's python3-numpy 1.24.2, python3-pandas 1.5.3.
# Behaviour: the difference of the two neighbours is taken in the type of the data, where it wraps, and
# only then multiplied by the fraction. Nothing of the result is cut, so it lies outside of the data and
# even of the type. median() of both adds and halves in double.
# A good engineer would guess: a percentile is computed in double, as mean() and median() of integers are,
# and lies between the least and the largest value; at 50 % it is the median.
# Output seen: 50 % of int8 -100 and 100 is 128, of int16 -30000 and 30000 32768, while the medians are 0;
# the uint8 numbers 0 and 255 have 127.5. Five spread numbers, where each step is small, are right.
# Why it matters: 8-bit activations and keys are clipped at percentiles of a channel, and few samples or two
# clusters have neighbours that are far apart. The threshold is larger than every value, and the quartiles
# of a table are out of order.
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
need python3-pandas 1.5.3
cat >check.py <<'PY'
import numpy
import pandas

print("numpy", numpy.__version__, "pandas", pandas.__version__)
cases = [
    ("int8", [-100, 100]),
    ("int16", [-30000, 30000]),
    ("uint8", [0, 255]),
    ("int8", [-100, -50, 0, 50, 100]),
]
for dtype, values in cases:
    x = numpy.array(values, dtype)
    found = [float(numpy.percentile(x, percent)) for percent in (25, 50, 75)]
    right = [float(numpy.percentile(x.astype(float), percent)) for percent in (25, 50, 75)]
    print(f"{dtype} {values}: {found}, of doubles {right}, median {float(numpy.median(x))}")
table = pandas.Series([-100, 100], dtype="int8").describe()
print("describe", {name: float(table[name]) for name in ("min", "25%", "50%", "75%", "max")})
PY
/usr/bin/python3 check.py >seen
cat seen
cat >expected <<'TEXT'
numpy 1.24.2 pandas 1.5.3
int8 [-100, 100]: [-114.0, 128.0, 114.0], of doubles [-50.0, 0.0, 50.0], median 0.0
int16 [-30000, 30000]: [-31384.0, 32768.0, 31384.0], of doubles [-15000.0, 0.0, 15000.0], median 0.0
uint8 [0, 255]: [63.75, 127.5, 191.25], of doubles [63.75, 127.5, 191.25], median 127.5
int8 [-100, -50, 0, 50, 100]: [-50.0, 0.0, 50.0], of doubles [-50.0, 0.0, 50.0], median 0.0
describe {'min': -100.0, '25%': -114.0, '50%': 128.0, '75%': 114.0, 'max': 100.0}
TEXT
cmp -s seen expected || { echo "Changed: percentiles of small integers in numpy" >&2; exit 1; }
