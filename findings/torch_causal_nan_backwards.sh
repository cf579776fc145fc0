#!/usr/bin/env bash
# A NaN in a later value reaches earlier tokens through a causal mask, and how far depends on the back
# end.
#
# Versions: PyTorch 2.11.0 (CUDA 13.0, cuDNN of its wheel), NVIDIA H200.
# Behaviour: hidden scores become weights of 0, and 0 times NaN (or infinity) is NaN. Tiles that lie
# wholly in the future are left out, so that only rows in the tile of the bad value see it: the size
# of a tile decides. The math back end leaves nothing out. A NaN in a key stays where it belongs.
# A good engineer would guess: what a causal mask hides has no effect, whatever it holds; or all
# earlier rows break, in every back end alike.
# Output seen: NaN in value 511 of 512: rows with NaN from 0 (math), 256 (flash), 448 (efficient) and
# 384 (cuDNN), where 511 is right; in the key from 0 (math) and 511 (the others).
# Why it matters: caches are allocated without being cleared and read up to the next multiple of a
# page. Tokens that are right turn into NaN, or do not, by the number of tokens before them and the
# back end.
#
# Needs a GPU. Uses the python3 at hand if it has these versions; installs them in a temporary folder
# else.
set -euo pipefail
WANTED="2.11.0"
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python=python3
have=$(python3 -c '
import torch
print(torch.__version__.split("+")[0])' 2>/dev/null || true)
if [[ "$have" != "$WANTED" ]]; then
  python3 -m venv "$folder/venv"
  "$folder/venv/bin/pip" install --quiet torch==2.11.0 numpy==2.3.5
  python=$folder/venv/bin/python
fi
cat >"$folder/check.py" <<'PY'
import sys
import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

print("torch", torch.__version__, torch.cuda.get_device_name())
backends = {
    "math": SDPBackend.MATH,
    "flash": SDPBackend.FLASH_ATTENTION,
    "efficient": SDPBackend.EFFICIENT_ATTENTION,
    "cuDNN": SDPBackend.CUDNN_ATTENTION,
}
torch.manual_seed(0)
length = 512
inputs = [torch.randn(1, 1, length, 64, device="cuda", dtype=torch.bfloat16) for _ in range(3)]


def first_bad(backend, which, place, value):
    changed = [one.clone() for one in inputs]
    changed[which][0, 0, place, 0] = value
    with sdpa_kernel(backend):
        out = F.scaled_dot_product_attention(*changed, is_causal=True)[0, 0]
    return out.isnan().any(-1).nonzero()[0].item()


nan, infinity = float("nan"), float("inf")
found = {}
for name, backend in backends.items():
    found[name] = [first_bad(backend, 2, 511, nan), first_bad(backend, 2, 300, nan),
                   first_bad(backend, 2, 511, infinity), first_bad(backend, 1, 511, nan)]
    print(f"{name}: first row with NaN for NaN in value 511: {found[name][0]}, value 300: {found[name][1]}, "
          f"infinity in value 511: {found[name][2]}, NaN in key 511: {found[name][3]}")
ok = [found[name][0] for name in found] == [0, 256, 448, 384]
ok = ok and [found[name][3] for name in found] == [0, 511, 511, 511]
print("as described" if ok else "CHANGED")
sys.exit(0 if ok else 1)
PY
"$python" "$folder/check.py"
