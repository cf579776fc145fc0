#!/usr/bin/env bash
# CuPy's percentile() of numbers with a NaN is a number, where its median() and numpy's percentile()
# are NaN.
#
# Versions: CuPy 14.2.0, numpy 2.5.2, NVIDIA H200.
# Behaviour: percentile() sorts, and NaN sorts to the end: it counts as the largest number, and
# shows only where the percentile reaches it. median() and max() look for NaN first.
# A good engineer would guess: percentile(x, 50) is median(x), and CuPy gives what numpy gives.
# Output seen: of 1, NaN, 3, -2: CuPy percentile 50 2.0, median NaN; numpy NaN for both.
# nanpercentile() would be 1.
# Why it matters: thresholds of a selection are percentiles of scores. A NaN score raises the
# threshold a little instead of stopping the run, and fewer blocks are kept.
#
# Needs a GPU. Uses the python3 at hand if it has these versions; installs them in a temporary
# folder else.
set -euo pipefail
WANTED="14.2.0 2.5.2"
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python=python3
have=$(python3 -c '
from importlib.metadata import version
print(*(version(name).split("+")[0] for name in ("cupy-cuda13x", "numpy")))' 2>/dev/null || true)
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
nan = float("nan")
found = {}
for module in (cupy, numpy):
    numbers = module.asarray(numpy.array([1, nan, 3, -2], numpy.float32))
    found[module.__name__] = [float(value) for value in (
        module.percentile(numbers, 50), module.median(numbers), module.max(numbers))]
    print(f"{module.__name__}: percentile 50 {found[module.__name__][0]}, median {found[module.__name__][1]}, "
          f"max {found[module.__name__][2]}")
ok = found["cupy"][0] == 2 and all(value != value for value in found["cupy"][1:] + found["numpy"])
print("as described" if ok else "CHANGED")
sys.exit(0 if ok else 1)
PY
"$python" "$folder/check.py"
