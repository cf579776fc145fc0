#!/usr/bin/env bash
# Rounding to bf16 and back is nothing in compiled code of JAX and of PyTorch.
#
# Versions: JAX 0.11.2, PyTorch 2.11.0 (CUDA 13.0), NVIDIA H200.
# Behaviour: x.astype(bfloat16).astype(float32) inside jit on a GPU gives x with all its digits; so do
# f16 and even float8_e4m3fn. On the CPU back end of the same JAX it rounds, as without jit.
# torch.compile drops bf16 and f16, on both devices, and keeps fp8.
# A good engineer would guess: a conversion that is written down is done; a compiler changes the order
# of sums at most. XLA does not do so on its other back end.
# Output seen, for pi: JAX on the GPU 3.140625 without jit and 3.1415927 with it, in all three types;
# PyTorch 3.140625 and 3.1415927 in bf16, 3.25 and 3.25 in fp8.
# Why it matters: "what would a cache in bf16 or fp8 cost" is measured by such round trips. Compiled,
# the answer is nothing at all, and the real cache loses digits.
#
# Needs a GPU and a C++ compiler. Uses the python3 at hand if it has these versions; installs them in
# a temporary folder else.
set -euo pipefail
WANTED="2.11.0 0.11.2"
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python=python3
have=$(python3 -c 'import jax, torch; print(torch.__version__.split("+")[0], jax.__version__)' 2>/dev/null || true)
if [[ "$have" != "$WANTED" ]]; then
  python3 -m venv "$folder/venv"
  "$folder/venv/bin/pip" install --quiet torch==2.11.0 "jax[cuda13]==0.11.2" numpy==2.3.5
  python=$folder/venv/bin/python
fi
export XLA_PYTHON_CLIENT_PREALLOCATE=false
cat > "$folder/by_jax.py" <<'PY'
import math
import jax
import jax.numpy as jnp

for name in ("bfloat16", "float16", "float8_e4m3fn"):
    def round_trip(x, dtype=jnp.dtype(name)):
        return x.astype(dtype).astype(jnp.float32)

    for device in (jax.devices()[0], jax.devices("cpu")[0]):
        with jax.default_device(device):
            x = jnp.asarray([math.pi], jnp.float32)
            values = (float(round_trip(x)[0]), float(jax.jit(round_trip)(x)[0]))
        print(f"JAX, {device.platform}, {name}: {values[0]:.8g}, in jit {values[1]:.8g}")
PY
cat > "$folder/by_torch.py" <<'PY'
import math
import torch

for device in ("cuda", "cpu"):
    for dtype in (torch.bfloat16, torch.float16, torch.float8_e4m3fn):
        def round_trip(x):
            return x.to(dtype).to(torch.float32)

        torch._dynamo.reset()
        x = torch.tensor([math.pi], device=device)
        values = (round_trip(x).item(), torch.compile(round_trip)(x).item())
        print(f"PyTorch, {device}, {str(dtype)[6:]}: {values[0]:.8g}, compiled {values[1]:.8g}")
PY
{ "$python" "$folder/by_jax.py" && "$python" "$folder/by_torch.py"; } | sed 's/, gpu,/, cuda,/' | tee "$folder/seen"
cat >"$folder/expected" <<'TEXT'
JAX, cuda, bfloat16: 3.140625, in jit 3.1415927
JAX, cpu, bfloat16: 3.140625, in jit 3.140625
JAX, cuda, float16: 3.140625, in jit 3.1415927
JAX, cpu, float16: 3.140625, in jit 3.140625
JAX, cuda, float8_e4m3fn: 3.25, in jit 3.1415927
JAX, cpu, float8_e4m3fn: 3.25, in jit 3.25
PyTorch, cuda, bfloat16: 3.140625, compiled 3.1415927
PyTorch, cuda, float16: 3.140625, compiled 3.1415927
PyTorch, cuda, float8_e4m3fn: 3.25, compiled 3.25
PyTorch, cpu, bfloat16: 3.140625, compiled 3.1415927
PyTorch, cpu, float16: 3.140625, compiled 3.1415927
PyTorch, cpu, float8_e4m3fn: 3.25, compiled 3.25
TEXT
cmp -s "$folder/seen" "$folder/expected" || { echo "CHANGED"; exit 1; }
echo "as described"
