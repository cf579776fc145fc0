#!/usr/bin/env bash
# Python's statistics.quantiles() puts the 99th percentile above the largest time, and the first below 0.
#
# Versions: Debian's python3 3.11.2 and python3-numpy 1.24.2.
# Behaviour: of few numbers the cut at 1 or 99 % lies outside of them, and the line through the two outermost
# numbers is followed there, as far as it takes. method="inclusive" and numpy stay inside.
# A good engineer would guess: a percentile lies between the least and the largest number; where it would
# lie outside, it is the outermost one, as in R's type 6, which has the same formula.
# Output seen: of ten times from 1 to 10 seconds the 99th percentile is 10.89; of 1, 5 and 9 it is 12.84 and
# the first -2.84; inclusive 9.91, 8.92 and 1.08; numpy's weibull, the same formula, 10, 9 and 1.
# Why it matters: latency of long prompts is measured a few times and reported as p95 and p99. The figure is a
# time that no request took, 9 or 43 % above the worst, and the low end is negative.
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
need python3.11 3.11.2
need python3-numpy 1.24.2
cat >check.py <<'PY'
import statistics

import numpy

for name, seconds in (("1 to 10", list(range(1, 11))), ("1 5 9", [1, 5, 9])):
    for method in ("exclusive", "inclusive"):
        cuts = statistics.quantiles(seconds, n=100, method=method)
        print(f"{name} {method}: p1 {cuts[0]:.2f}, p50 {cuts[49]:.2f}, p99 {cuts[98]:.2f}")
    p1, p50, p99 = numpy.percentile(seconds, (1, 50, 99), method="weibull")
    print(f"{name} numpy weibull: p1 {p1:.2f}, p50 {p50:.2f}, p99 {p99:.2f}")
PY
/usr/bin/python3 check.py >seen
cat seen
cat >expected <<'TEXT'
1 to 10 exclusive: p1 0.11, p50 5.50, p99 10.89
1 to 10 inclusive: p1 1.09, p50 5.50, p99 9.91
1 to 10 numpy weibull: p1 1.00, p50 5.50, p99 10.00
1 5 9 exclusive: p1 -2.84, p50 5.00, p99 12.84
1 5 9 inclusive: p1 1.08, p50 5.00, p99 8.92
1 5 9 numpy weibull: p1 1.00, p50 5.00, p99 9.00
TEXT
cmp -s seen expected || { echo "Changed: quantiles of few numbers in Python" >&2; exit 1; }
