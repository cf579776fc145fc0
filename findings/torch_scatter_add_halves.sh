#!/usr/bin/env bash
# In PyTorch, 4,096 ones scattered to one place add up to 256 in bf16, and the mean of threes is 4.
#
# Versions: PyTorch 2.11.0 (CUDA 13.0), NVIDIA H200.
# Behaviour: index_add_(), scatter_add_() and scatter_reduce_() on a GPU, and index_add_() and
# index_put_(accumulate=True) on a CPU, round after each addition. index_put_() on a GPU and the
# scatter functions on a CPU do not. scatter_reduce_() by "mean" rounds sum and count and divides
# them.
# A good engineer would guess: what is named a sum adds in f32, as sum(), matmul and cumsum() do for
# these types; and four names for one operation agree.
# Output seen: GPU 256, 256, 256 and 4096, mean 4.0; CPU 256, 4096, 4096 and 256, mean 3.0; f16 stops
# at 2048.
# Why it matters: tokens per expert, attention mass per block and pooled embeddings are summed like
# this. A test on a CPU passes, and counts stop at 256.
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

print("torch", torch.__version__, torch.cuda.get_device_name())
found = {}
for device in ("cuda", "cpu"):
    for dtype in (torch.bfloat16, torch.float16, torch.float32):
        ones = torch.ones(4096, dtype=dtype, device=device)
        zero = torch.zeros(1, dtype=dtype, device=device)
        place = torch.zeros(4096, dtype=torch.long, device=device)
        sums = {
            "sum": ones.sum(),
            "index_add": zero.clone().index_add_(0, place, ones),
            "scatter_add": zero.clone().scatter_add_(0, place, ones),
            "scatter_reduce": zero.clone().scatter_reduce_(0, place, ones, "sum"),
            "index_put": zero.clone().index_put_((place,), ones, accumulate=True),
            "mean of 3": zero.clone().scatter_reduce_(0, place, 3 * ones, "mean", include_self=False),
        }
        found[device, dtype] = {name: value.item() for name, value in sums.items()}
        print(device, str(dtype)[6:], found[device, dtype])
gpu, cpu = (list(found[device, torch.bfloat16].values()) for device in ("cuda", "cpu"))
ok = gpu == [4096, 256, 256, 256, 4096, 4] and cpu == [4096, 256, 4096, 4096, 256, 3]
ok = ok and all(list(found[d, torch.float32].values()) == [4096] * 5 + [3] for d in ("cuda", "cpu"))
print("as described" if ok else "CHANGED")
sys.exit(0 if ok else 1)
PY
"$python" "$folder/check.py"
