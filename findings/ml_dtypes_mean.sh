#!/usr/bin/env bash
# numpy's mean of 4,096 bf16 ones is 0.0625, and 1 as long as the array is JAX's.
#
# Versions: ml_dtypes 0.6.0, numpy 2.5.2, JAX 0.11.2.
# Behaviour: bf16, fp8 and int4 come to numpy by ml_dtypes. numpy's mean() adds its own float16 in
# f32 and has no such rule for these: sums are rounded to 8 bits of mantissa at each step and stop
# at 256, sums of int4 wrap at 16. numpy.mean() of a JAX array is JAX's own mean.
# A good engineer would guess: the mean of equal numbers is that number, as it is for float16;
# numpy.asarray() changes nothing but the owner.
# Output seen: bf16: sum 256, mean 0.0625, std 0.25, the mean of 100,000 ones 0.00256; the same as
# float16 mean 1; 64 ones in fp8 mean 0.25; 100 ones in int4 sum to 4. numpy.mean(x) of a JAX array
# 1, numpy.asarray(x).mean() 0.0625.
# Why it matters: weights and caches in bf16 are brought to the host to be looked at, by numpy.
# Their means shrink with the length and equal numbers have a spread, and the same line was right
# before asarray().
#
# Uses the python3 at hand if it has these versions; installs them in a temporary folder else.
set -euo pipefail
WANTED="0.6.0 2.5.2 0.11.2"
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python=python3
have=$(python3 -c '
from importlib.metadata import version
print(*(version(name).split("+")[0] for name in ("ml_dtypes", "numpy", "jax")))' 2>/dev/null || true)
if [[ "$have" != "$WANTED" ]]; then
  python3 -m venv "$folder/venv"
  "$folder/venv/bin/pip" install --quiet ml_dtypes==0.6.0 numpy==2.5.2 jax==0.11.2
  python=$folder/venv/bin/python
fi
export XLA_PYTHON_CLIENT_PREALLOCATE=false
cat >"$folder/check.py" <<'PY'
import sys
import jax
import jax.numpy as jnp
import ml_dtypes
import numpy

print("ml_dtypes", ml_dtypes.__version__, "numpy", numpy.__version__, "jax", jax.__version__)
ones = numpy.ones(4096, ml_dtypes.bfloat16)
on_device = jnp.ones(4096, jnp.bfloat16)
found = {
    "sum": (ones.sum(), 256),
    "mean": (ones.mean(), 0.0625),
    "std": (ones.std(), 0.25),
    "mean as float16": (ones.astype(numpy.float16).mean(), 1),
    "mean of 64 in fp8": (numpy.ones(64, ml_dtypes.float8_e4m3fn).mean(), 0.25),
    "sum of 100 in int4": (numpy.ones(100, ml_dtypes.int4).sum(), 4),
    "numpy.mean of JAX's": (numpy.mean(on_device), 1),
    "numpy.asarray of JAX's, mean": (numpy.asarray(on_device).mean(), 0.0625),
}
ok = True
for name, (value, wanted) in found.items():
    value = float(numpy.asarray(value).astype(numpy.float64))
    print(f"{name}: {value}")
    ok = ok and value == wanted
print("mean of 100,000:", numpy.ones(100_000, ml_dtypes.bfloat16).mean())
print("as described" if ok else "CHANGED")
sys.exit(0 if ok else 1)
PY
"$python" "$folder/check.py"
