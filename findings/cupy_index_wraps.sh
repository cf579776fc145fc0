#!/usr/bin/env bash
# In CuPy an index past the end wraps around: place 10 of 5 reads the first, and writes into another.
#
# Versions: CuPy 14.2.0, numpy 2.5.2, NVIDIA H200.
# Behaviour: an array of indices is taken modulo the length, for reading, writing and take(), without
# an error; a single integer past the end raises. numpy raises for both. -7 of 5 wraps twice.
# A good engineer would guess: an IndexError as in numpy, or an error of the device; never a
# neighbour.
# Output seen: places 10, -7 and 4 of 0..4 read 0, 3 and 4; a write to place 5 of 3 changes the third.
# Why it matters: page tables and positions are arrays of indices. One page too far reads the first
# page of the cache, which is a valid one with plausible keys, and writes into it.
#
# Needs a GPU. Uses the python3 at hand if it has these versions; installs them in a temporary folder
# else.
set -euo pipefail
WANTED="14.2.0 2.5.2"
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python=python3
have=$(python3 -c '
import cupy, numpy
print(cupy.__version__.split("+")[0], numpy.__version__.split("+")[0])' 2>/dev/null || true)
if [[ "$have" != "$WANTED" ]]; then
  python3 -m venv "$folder/venv"
  "$folder/venv/bin/pip" install --quiet cupy-cuda13x==14.2.0 numpy==2.5.2
  python=$folder/venv/bin/python
fi
cat >"$folder/check.py" <<'PY'
import sys
import cupy
import numpy

print("cupy", cupy.__version__, "numpy", numpy.__version__)
found = {}
for module in (cupy, numpy):
    name = module.__name__
    numbers, places = module.arange(5), module.array([10, -7, 4])

    def write():
        target = module.arange(3)
        target[module.array([5])] = 9
        return target.tolist()

    for what, call in (("read 10, -7, 4", lambda: numbers[places].tolist()),
                       ("take", lambda: module.take(numbers, places).tolist()),
                       ("write to 5 of 3", write), ("single 10", lambda: int(numbers[10]))):
        try:
            found[name, what] = call()
        except IndexError:
            found[name, what] = "IndexError"
        print(f"{name}: {what}: {found[name, what]}")
ok = found["cupy", "read 10, -7, 4"] == found["cupy", "take"] == [0, 3, 4]
ok = ok and found["cupy", "write to 5 of 3"] == [0, 1, 9]
others = [value for (name, what), value in found.items() if name == "numpy" or what == "single 10"]
ok = ok and all(value == "IndexError" for value in others)
print("as described" if ok else "CHANGED")
sys.exit(0 if ok else 1)
PY
"$python" "$folder/check.py"
