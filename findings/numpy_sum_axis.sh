#!/usr/bin/env bash
# numpy adds pairwise along one axis and plainly along the other: ones can be added without effect.
#
# Versions: Debian's python3-numpy 1.24.2.
# Behaviour: a contiguous column of 2^24 followed by 4096 ones has the right float32 sum, as numpy
# adds in pairs. The same column inside of an array of two columns, summed with axis 0, keeps 2^24:
# rows are added one by one to a float32 result, and each 1 is lost. mean() does the same.
# A good engineer would guess: sum() is pairwise (numpy is known for it), and the sum of a column
# does not depend on whether a second column lies beside it.
# Output seen: 16781296 alone, 16777216 with axis 0, although the two columns are equal.
# Why it matters: reference values of long sequences (masses, norms, losses over tokens) are column
# sums in float32. Along the long axis they stop growing, and a right kernel is off by as much.
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
import numpy
both = numpy.ones((4097, 2), numpy.float32)
both[0] = 2.0**24
lost = lambda total: "almost nothing" if total > 2.0**24 + 4000 else int(2**24 + 4096 - total)
print("alone: lost", lost(both[:, 0].copy().sum()))
print("axis 0: lost", *map(lost, both.sum(axis=0)))
print("axis 1 of the transposed copy: lost", *map(lost, both.T.copy().sum(axis=1)))
print("mean is lower", bool((both.mean(axis=0) < both[:, 0].copy().mean()).all()))
PY
/usr/bin/python3 check.py >seen
cat seen
cat >expected <<'TEXT'
alone: lost almost nothing
axis 0: lost 4096 4096
axis 1 of the transposed copy: lost almost nothing almost nothing
mean is lower True
TEXT
cmp -s seen expected || { echo "Changed: how numpy adds along axis 0" >&2; exit 1; }
