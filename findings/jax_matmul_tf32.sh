#!/usr/bin/env bash
# In JAX on a GPU a matrix of 4097 times the identity is 4096; in PyTorch so is a convolution.
#
# Versions: JAX 0.11.2, PyTorch 2.11.0 (CUDA 13.0), NVIDIA H200.
# Behaviour: JAX multiplies f32 matrices in TF32, with 10 bits of mantissa, unless
# precision="highest" is given; a matrix and a vector are multiplied in f32. PyTorch has TF32 off
# for matmul and on for convolutions.
# A good engineer would guess: f32 times one is exact, and a product with a vector agrees with the
# product with a matrix that has it as a column.
# Output seen: JAX matmul 4096, with precision="highest" 4097, by a vector 4097; PyTorch matmul
# 4097, conv1d of 64 channels by the identity 4096.
# Why it matters: positions, token ids and offsets are looked up by one-hot products, and scores are
# smoothed by convolutions. Whole numbers above 2,048 come out as neighbours, for a batch and not
# for a single row.
#
# Needs a GPU. Uses the python3 at hand if it has these versions; installs them in a temporary
# folder else.
set -euo pipefail
WANTED="0.11.2 2.11.0"
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python=python3
have=$(python3 -c '
from importlib.metadata import version
print(*(version(name).split("+")[0] for name in ("jax", "torch")))' 2>/dev/null || true)
if [[ "$have" != "$WANTED" ]]; then
  python3 -m venv "$folder/venv"
  "$folder/venv/bin/pip" install --quiet "jax[cuda13]==0.11.2" torch==2.11.0
  python=$folder/venv/bin/python
fi
export XLA_PYTHON_CLIENT_PREALLOCATE=false
cat >"$folder/check.py" <<'PY'
import sys
import jax
import jax.numpy as jnp
import torch
from torch.nn.functional import conv1d

print("jax", jax.__version__, "torch", torch.__version__, torch.cuda.get_device_name())
numbers = jnp.full((64, 64), 4097.0)
x = torch.full((64, 64), 4097.0, device="cuda")
eye = torch.eye(64, device="cuda")
found = {
    "jax matmul": float((numbers @ jnp.eye(64))[0, 0]),
    "jax matmul, highest": float(jnp.matmul(numbers, jnp.eye(64), precision="highest")[0, 0]),
    "jax by a vector of ones, / 64": float(jnp.einsum("ij,j->i", numbers, jnp.ones(64))[0] / 64),
    "torch matmul": (x @ eye)[0, 0].item(),
    "torch conv1d": conv1d(x.expand(8, 64, 64).contiguous(), eye[:, :, None].contiguous())[0, 0, 0].item(),
}
for name, value in found.items():
    print(f"{name}: {value:.0f}")
ok = list(found.values()) == [4096, 4097, 4097, 4097, 4096]
print("as described" if ok else "CHANGED")
sys.exit(0 if ok else 1)
PY
"$python" "$folder/check.py"
