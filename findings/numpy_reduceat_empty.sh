#!/usr/bin/env bash
# numpy.add.reduceat() gives an empty segment the first number of the next one, not 0.
#
# Versions: Debian's python3-numpy 1.24.2.
# Behaviour: between two equal offsets the result is the element at the offset. An empty segment at
# the end cannot be asked for: its offset is the length, which raises. maximum and multiply do alike.
# A good engineer would guess: the sum of nothing is 0, as numpy.sum() of an empty slice is, and one
# more offset at the end is harmless.
# Output seen: segments of 2, 0, 3 and 1 ones with values 1 to 6 sum to 3, 3, 12 and 6; the right
# second is 0. With an offset of 6: IndexError.
# Why it matters: sums over packed sequences (losses, lengths, attention mass by cumulative offsets)
# are written like this. A document without tokens gets a token of its neighbour, which is counted
# twice.
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
values = numpy.arange(1, 7)
lengths = [2, 0, 3, 1]
offsets = numpy.cumsum([0, *lengths])[:-1]
for name in ("add", "maximum", "multiply"):
    found = getattr(numpy, name).reduceat(values, offsets)
    print(f"{name}.reduceat over lengths {lengths}: {found.tolist()}")
print("by slices:", [int(values[start:start + length].sum()) for start, length in zip(offsets, lengths)])
try:
    print("empty at the end:", numpy.add.reduceat(values, [0, 2, 6]).tolist())
except IndexError as error:
    print("empty at the end:", type(error).__name__)
print("offsets 4, 1:", numpy.add.reduceat(values, [4, 1]).tolist())
PY
/usr/bin/python3 check.py >seen
cat seen
cat >expected <<'TEXT'
numpy 1.24.2
add.reduceat over lengths [2, 0, 3, 1]: [3, 3, 12, 6]
maximum.reduceat over lengths [2, 0, 3, 1]: [2, 3, 5, 6]
multiply.reduceat over lengths [2, 0, 3, 1]: [2, 3, 60, 6]
by slices: [3, 0, 12, 6]
empty at the end: IndexError
offsets 4, 1: [5, 20]
TEXT
cmp -s seen expected || { echo "Changed: empty segments of numpy's reduceat" >&2; exit 1; }
