#!/usr/bin/env bash
# In PyTorch, CuPy and JAX 2 to the power of -1, -2, ... is 0 for whole numbers, without an error.
#
# Versions: PyTorch 2.11.0 (CUDA 13.0), CuPy 14.2.0, JAX 0.11.2, numpy 2.5.2, NVIDIA H200.
# Behaviour: a power of integers is an integer, so that 1/2 is cut to 0; -1 and 1 as bases are
# right. numpy refuses negative powers of integers. A base written 2.0 gives halves in all of them.
# A good engineer would guess: 2 ** -n is 0.5, 0.25, ... as in Python, or raises as in numpy.
# Output seen: 2 ** -arange(1, 9) is eight zeros in PyTorch on a CPU and on a GPU, in CuPy and in
# JAX; numpy raises ValueError; 2.0 ** -arange(1, 9) begins with 0.5 in all.
# Why it matters: ALiBi's slopes are written like this, and so are decays and scales of quantization
# by powers of two. With slopes of zero a model of 8 heads answers, without any notion of distance.
#
# Needs a GPU. Uses the python3 at hand if it has these versions; installs them in a temporary
# folder else.
set -euo pipefail
WANTED="2.11.0 14.2.0 0.11.2 2.5.2"
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python=python3
have=$(python3 -c '
from importlib.metadata import version
print(*(version(name).split("+")[0] for name in ("torch", "cupy-cuda13x", "jax", "numpy")))' 2>/dev/null || true)
if [[ "$have" != "$WANTED" ]]; then
  python3 -m venv "$folder/venv"
  "$folder/venv/bin/pip" install --quiet torch==2.11.0 cupy-cuda13x==14.2.0 "jax[cuda13]==0.11.2" numpy==2.5.2
  python=$folder/venv/bin/python
fi
export XLA_PYTHON_CLIENT_PREALLOCATE=false
cat >"$folder/check.py" <<'PY'
import sys
import cupy
import jax
import jax.numpy as jnp
import numpy
import torch

print("torch", torch.__version__, "cupy", cupy.__version__, "jax", jax.__version__, "numpy", numpy.__version__)
steps = {
    "torch cpu": torch.arange(1, 9),
    "torch cuda": torch.arange(1, 9, device="cuda"),
    "cupy": cupy.arange(1, 9),
    "jax": jnp.arange(1, 9),
}
ok = True
for name, step in steps.items():
    whole, float_base = (2 ** -step).tolist(), (2.0 ** -step).tolist()
    print(f"{name}: 2 ** -n {whole}, 2.0 ** -n {float_base[:3]}")
    ok = ok and whole == [0] * 8 and float_base[:3] == [0.5, 0.25, 0.125]
try:
    print("numpy:", (2 ** -numpy.arange(1, 9)).tolist())
    ok = False
except ValueError as error:
    print("numpy raises:", error)
print("as described" if ok else "CHANGED")
sys.exit(0 if ok else 1)
PY
"$python" "$folder/check.py"
