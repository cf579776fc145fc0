#!/usr/bin/env bash
# jsfive reads the parts of an HDF5 data set that were never written as nothing at all, not as its
# fill value.
#
# Versions: Debian's python3-h5py 3.7.0, npm jsfive 0.4.2 and h5wasm 0.10.3.
# Behaviour: chunks come to exist when something is written in them. h5py, the HDF5 library and h5wasm
# give the fill value for the others (0 unless said otherwise); jsfive leaves holes in its array. Only
# a data set without any chunk is filled.
# A good engineer would guess: the fill value, which the file names and all its other readers give.
# Output seen, 4 x 4 in chunks of 2 x 2 with the fill value 7, one number written: h5wasm 15 times 7,
# jsfive 3 times 7 and 12 times undefined; their sums are 106 and NaN.
# Why it matters: results over lengths and depths are written into such grids cell by cell, and a
# figure or an average is made while the run is on.
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
need python3-h5py 3.7.0
npm install --prefix "$work" --loglevel=error --no-audit --no-fund --ignore-scripts \
  jsfive@0.4.2 h5wasm@0.10.3 >/dev/null
/usr/bin/python3 - <<'PY' >seen
import h5py

with h5py.File("grid.h5", "w") as file:
    for name, fill in (("with 7", 7), ("with 0", None)):
        grid = file.create_dataset(name, shape=(4, 4), chunks=(2, 2), dtype="f4", fillvalue=fill)
        grid[0, 0] = 1
        print(f"{name}, h5py: {' '.join(f'{x:g}' for x in grid[:].flat)}")
PY
cat >check.mjs <<'JS'
import { readFileSync } from "node:fs";
import h5wasm from "h5wasm/node";
import { File } from "jsfive";
await h5wasm.ready;
const bytes = readFileSync("grid.h5");
const files = {
  h5wasm: new h5wasm.File("grid.h5", "r"),
  jsfive: new File(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length), "grid.h5"),
};
for (const name of ["with 7", "with 0"]) {
  for (const [reader, file] of Object.entries(files)) {
    const numbers = Array.from(file.get(name).value);
    const sum = numbers.reduce((total, x) => total + x, 0);
    console.log(`${name}, ${reader}: ${numbers.map((x) => x ?? "-").join(" ")}, sum ${sum}`);
  }
}
JS
node check.mjs >>seen
cat seen
cat >expected <<'TEXT'
with 7, h5py: 1 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7
with 0, h5py: 1 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0
with 7, h5wasm: 1 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7, sum 106
with 7, jsfive: 1 7 - - 7 7 - - - - - - - - - -, sum NaN
with 0, h5wasm: 1 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0, sum 1
with 0, jsfive: 1 0 - - 0 0 - - - - - - - - - -, sum NaN
TEXT
cmp -s seen expected || { echo "Changed: chunks without data in jsfive" >&2; exit 1; }
