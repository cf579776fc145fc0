#!/usr/bin/env bash
# With the optional package bottleneck, pandas' std() of equal float32 numbers is not 0.
#
# Versions: Debian's python3-pandas 1.5.3, python3-bottleneck 1.3.5, python3-numpy 1.24.2.
# Behaviour: where bottleneck is installed, pandas computes std() and var() by it, one by one in
# float32; groupby(), rolling() and other types go other ways. Debian recommends the package with
# pandas, so that it is there unless --no-install-recommends was given.
# A good engineer would guess: an optional package changes the time, not the result, and the standard
# deviation of a column is the same as of the column in one group.
# Output seen: 33,554,432 times 0.1: std 0.03125 with bottleneck, 0 without and in one group; of
# 4,194,304 times 1000.1 20.3 and 0.
# Why it matters: activations, scores and times are float32. A spread that does not exist appears on
# the machine where one more package is installed, and a test there fails or passes by it.
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
need python3-pandas 1.5.3
need python3-bottleneck 1.3.5
need python3-numpy 1.24.2
cat >check.py <<'PY'
import bottleneck
import numpy
import pandas

print("pandas", pandas.__version__, "bottleneck", bottleneck.__version__, "numpy", numpy.__version__)
for value, count in ((0.1, 1 << 25), (1000.1, 1 << 22)):
    column = pandas.Series(numpy.full(count, value, numpy.float32))
    for used in (True, False):
        pandas.set_option("use_bottleneck", used)
        print(f"{count} times {value}: bottleneck {used}: std {float(column.std()):.5g}")
    group = column.groupby(numpy.zeros(count, numpy.int8)).std()
    print(f"{count} times {value}: in one group {float(group[0]):.5g}")
PY
/usr/bin/python3 check.py >seen
cat seen
cat >expected <<'TEXT'
pandas 1.5.3 bottleneck 1.3.5 numpy 1.24.2
33554432 times 0.1: bottleneck True: std 0.03125
33554432 times 0.1: bottleneck False: std 0
33554432 times 0.1: in one group 0
4194304 times 1000.1: bottleneck True: std 20.314
4194304 times 1000.1: bottleneck False: std 0
4194304 times 1000.1: in one group 0
TEXT
cmp -s seen expected || { echo "Changed: how bottleneck changes statistics of pandas" >&2; exit 1; }
