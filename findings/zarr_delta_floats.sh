#!/usr/bin/env bash
# Zarr's Delta filter returns other floats than were stored, and one NaN makes all that follow NaN.
#
# Versions: Debian's python3-zarr 2.13.6, python3-numcodecs 0.11.0.
# Behaviour: the differences of neighbours are stored, rounded to the type, and added up on reading. For
# floats the sum of rounded differences is not the number, and each error stays until the chunk's end. The
# filter takes float types without a word.
# A good engineer would guess: a filter in front of a compressor is without loss, as shuffle is, or refuses
# floats; Quantize and FixedScaleOffset are the ones that lose.
# Output seen: of f32 1e8, 0.1, 0.2, 0.3 come back 1e8, 0, 0.1, 0.2; 1 NaN 2 3 is 1 and three times NaN; the
# next chunk begins right; integers come back.
# Why it matters: scores and losses along a context are smooth, which is what delta filters are for. One
# broken score or one large number takes the rest of its chunk with it, by the chunk size.
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
need python3-zarr 2.13.6
need python3-numcodecs 0.11.0
cat >check.py <<'PY'
import numcodecs
import numpy
import zarr

print("zarr", zarr.__version__, "numcodecs", numcodecs.__version__)
cases = [
    ("f4", [1e8, 0.1, 0.2, 0.3, 0.1, 0.2, 0.3, 0.4]),
    ("f4", [1, numpy.nan, 2, 3, 4, 5, 6, 7]),
    ("i4", [100_000_000, 1, 2, 3, 4, 5, 6, 7]),
]
for dtype, values in cases:
    filters = [numcodecs.Delta(dtype)]
    stored = zarr.array(numpy.array(values, dtype), chunks=4, filters=filters)
    print(f"{dtype} {values}")
    print("  ", [round(float(value), 6) for value in stored[:]])
PY
/usr/bin/python3 check.py >seen
cat seen
cat >expected <<'TEXT'
zarr 2.13.6+ds numcodecs 0.11.0+ds
f4 [100000000.0, 0.1, 0.2, 0.3, 0.1, 0.2, 0.3, 0.4]
   [100000000.0, 0.0, 0.1, 0.2, 0.1, 0.2, 0.3, 0.4]
f4 [1, nan, 2, 3, 4, 5, 6, 7]
   [1.0, nan, nan, nan, 4.0, 5.0, 6.0, 7.0]
i4 [100000000, 1, 2, 3, 4, 5, 6, 7]
   [100000000.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]
TEXT
cmp -s seen expected || { echo "Changed: floats behind the Delta filter of zarr" >&2; exit 1; }
