#!/usr/bin/env bash
# scipy's softmax() of 100,000 equal halves is all zeros, and of two 8-bit numbers is NaN.
#
# Versions: Debian's python3-scipy 1.10.1, python3-numpy 1.24.2.
# Behaviour: the sum of exponentials is kept in the type of the input. Above 65,504 a sum of halves is
# infinite, so that each probability is 0 and logsumexp() is infinite; log_softmax() is -inf. Of int8
# the difference to the maximum wraps first: 100 and -100 give 0 and NaN, logsumexp() infinity.
# A good engineer would guess: functions that subtract the maximum for stability do not overflow on
# equal numbers around 0, and integers are taken as doubles.
# Output seen: 60,000 equal halves sum to 1, 70,000 to 0; logsumexp of 100,000 zeros inf for 11.5.
# Why it matters: vocabularies have 128,000 to 262,000 entries, and logits are stored as halves. A
# flat distribution has no token that can be drawn, and an entropy of zero.
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
import warnings
import numpy
import scipy
from scipy.special import log_softmax, logsumexp, softmax

warnings.simplefilter("ignore")
print("scipy", scipy.__version__, "numpy", numpy.__version__)
for count in (60_000, 70_000, 100_000):
    for dtype in (numpy.float16, numpy.float32):
        logits = numpy.zeros(count, dtype)
        total = softmax(logits).astype(float).sum()
        print(f"{count} {dtype.__name__}: softmax sums to {total:.2f}, logsumexp {logsumexp(logits):.2f}, "
              f"log_softmax {log_softmax(logits)[0]:.2f}")
for dtype in (numpy.int8, numpy.int32):
    logits = numpy.array([100, -100], dtype)
    print(f"{dtype.__name__} 100, -100: softmax {softmax(logits).tolist()}, logsumexp {logsumexp(logits)}")
PY
/usr/bin/python3 check.py >seen
cat seen
cat >expected <<'TEXT'
scipy 1.10.1 numpy 1.24.2
60000 float16: softmax sums to 1.00, logsumexp 11.00, log_softmax -11.00
60000 float32: softmax sums to 1.00, logsumexp 11.00, log_softmax -11.00
70000 float16: softmax sums to 0.00, logsumexp inf, log_softmax -inf
70000 float32: softmax sums to 1.00, logsumexp 11.16, log_softmax -11.16
100000 float16: softmax sums to 0.00, logsumexp inf, log_softmax -inf
100000 float32: softmax sums to 1.00, logsumexp 11.51, log_softmax -11.51
int8 100, -100: softmax [0.0, nan], logsumexp inf
int32 100, -100: softmax [1.0, 1.3838965267367376e-87], logsumexp 100.0
TEXT
cmp -s seen expected || { echo "Changed: softmax and logsumexp of halves in scipy" >&2; exit 1; }
