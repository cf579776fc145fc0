#!/usr/bin/env bash
# h5py writes 70,000 into a uint16 dataset as 65,535, where numpy would wrap it or raise.
#
# Versions: Debian's python3-h5py 3.7.0 (HDF5 1.10.8), python3-numpy 1.24.2.
# Behaviour: HDF5 converts between integer types by cutting to the nearest that fits, without an error
# or a warning, in both directions: by assigning to a dataset and by reading with astype(). Floats are
# cut to integers the same way.
# A good engineer would guess: dataset[...] = array does what array[...] = array does (70,000 becomes
# 4,464), or refuses.
# Output seen: ids 65536, 70000 and 151643 are all 65535; 300.0 is 255 in uint8 and 127 in int8, -5 is
# 0.
# Why it matters: token ids are stored as uint16 to save space, which vocabularies above 65,536 do not
# fit. Many tokens become one valid id, which decodes to a word, and nothing looks like an overflow.
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
need python3-h5py 3.7.0
need python3-numpy 1.24.2
cat >check.py <<'PY'
import h5py
import numpy

print("h5py", h5py.__version__, "numpy", numpy.__version__)
with h5py.File("tokens.h5", "w") as file:
    def stored(values, dtype):
        name = f"{len(file)}"
        file.create_dataset(name, (len(values),), dtype)[:] = values
        return file[name][:].tolist()

    ids = numpy.array([65535, 65536, 70000, 151643])
    print("uint16 of", ids.tolist(), "h5py", stored(ids, "u2"), "numpy", ids.astype("u2").tolist())
    scales = numpy.array([300.0, -5.0, 1.9])
    for dtype in ("u1", "i1"):
        print(dtype, "of", scales.tolist(), "h5py", stored(scales, dtype))
    file["ids"] = ids
    print("read with astype", file["ids"].astype("u2")[:].tolist())
PY
/usr/bin/python3 check.py >seen
cat seen
cat >expected <<'TEXT'
h5py 3.7.0 numpy 1.24.2
uint16 of [65535, 65536, 70000, 151643] h5py [65535, 65535, 65535, 65535] numpy [65535, 0, 4464, 20571]
u1 of [300.0, -5.0, 1.9] h5py [255, 0, 1]
i1 of [300.0, -5.0, 1.9] h5py [127, -5, 1]
read with astype [65535, 65535, 65535, 65535]
TEXT
cmp -s seen expected || { echo "Changed: how h5py writes numbers that do not fit" >&2; exit 1; }
