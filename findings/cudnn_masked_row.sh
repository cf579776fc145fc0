#!/usr/bin/env bash
# A query that a boolean mask lets see nothing: PyTorch's attention back ends disagree about it.
#
# Versions: PyTorch 2.11.0 (CUDA 13.0, cuDNN 9.19), one NVIDIA GPU of compute capability 9.0.
# Behaviour: scaled_dot_product_attention() takes a boolean mask, of which one row has nothing True. The
# math and the memory-efficient back ends give zeros there; cuDNN's gives an average of values that the
# mask hides. With the same mask written as 0 and -inf, cuDNN's gives zeros, too.
# A good engineer would guess: all back ends give the same there, zeros or NaN.
# Output seen: math and efficient "min 0.0, max 0.0", cuDNN with the boolean mask "min 1.43, max 1.578".
# Why it matters: left-padded batches, block masks and sliding windows have such rows. A comparison of
# attention modes through PyTorch depends on which back end was chosen there, and what is read was to
# be hidden.
#
# Needs a GPU. Uses the python3 at hand if it has this PyTorch; installs it in a temporary folder else.
set -euo pipefail
WANTED=2.11.0
python=python3
if [[ "$(python3 -c 'import torch; print(torch.__version__.split("+")[0])' 2>/dev/null)" != "$WANTED" ]]; then
  folder=$(mktemp -d)
  trap 'rm -rf "$folder"' EXIT
  python3 -m venv "$folder/venv"
  "$folder/venv/bin/pip" install --quiet "torch==$WANTED" numpy==2.3.5
  python=$folder/venv/bin/python
fi
"$python" - <<'PY'
import sys
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

print("torch", torch.__version__, "cuDNN", torch.backends.cudnn.version(), torch.cuda.get_device_name())
torch.manual_seed(1)
heads, length, size = 4, 256, 64
q, k = (torch.randn(1, heads, length, size, device="cuda", dtype=torch.bfloat16) for _ in "qk")
# All values are between 1 and 2: an average of any of them is too, and zero means "none".
v = 1 + torch.rand(1, heads, length, size, device="cuda").to(torch.bfloat16)
mask = torch.ones(length, length, device="cuda", dtype=torch.bool).tril()
mask[100] = False
bias = torch.zeros(length, length, device="cuda", dtype=torch.bfloat16)
bias.masked_fill_(~mask, float("-inf"))

def row(backend, given):
    with sdpa_kernel(backend):
        out = torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=given[None, None])
    hidden = out[0, :, 100].float()
    return round(hidden.min().item(), 3), round(hidden.max().item(), 3)

found = {}
for name in ("MATH", "EFFICIENT_ATTENTION", "CUDNN_ATTENTION"):
    for kind, given in (("boolean", mask), ("-inf", bias)):
        found[name, kind] = row(getattr(SDPBackend, name), given)
        print(f"{name:20} {kind:8} row without keys: min {found[name, kind][0]}, max {found[name, kind][1]}")
zeros = (0.0, 0.0)
ok = all(found[key] == zeros for key in found if key != ("CUDNN_ATTENTION", "boolean"))
low, high = found["CUDNN_ATTENTION", "boolean"]
ok = ok and 1 <= low <= high <= 2
print("as described" if ok else "CHANGED")
sys.exit(0 if ok else 1)
PY
