#!/usr/bin/env bash
# Copies of half of the columns between a GPU and pinned memory block, and take 20 to 50 times as
# long.
#
# Versions: PyTorch 2.11.0 (CUDA 13.0), NVIDIA H200.
# Behaviour: where the side in pinned memory has gaps, PyTorch gathers the numbers by the CPU in
# memory of its own that is not pinned, and waits, non_blocking=True or not. Gaps on the GPU's side
# cost nothing. to() of a transposed matrix keeps its layout and is fast; copy_() of the same into a
# tensor that is there is the slowest of all.
# A good engineer would guess: pinned and non_blocking means that the call returns at once, and rows
# with gaps go as CUDA's two-dimensional copy, at nearly the full rate.
# Output seen: 256 MB whole 5 ms; half of the columns (128 MB) to the GPU 45 to 75 ms, half of the
# rows 2.7 ms; into half of wider pinned rows 270 ms; copy_() of the transposed 320 to 400 ms, to() 5
# ms.
# Why it matters: offloaded caches are copied by heads or layers out of a pinned buffer. The copy that
# shall hide behind the computation stops the program, and takes longer than computing the keys again.
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
import time
import torch

print("torch", torch.__version__, torch.cuda.get_device_name())


def times(call):
    """Until the call returns, and until it is done, in ms: the best of three."""
    best = [float("inf")] * 2
    for _ in range(4):
        torch.cuda.synchronize()
        start = time.perf_counter()
        call()
        returned = time.perf_counter() - start
        torch.cuda.synchronize()
        best = [min(best[0], 1e3 * returned), min(best[1], 1e3 * (time.perf_counter() - start))]
    return best


host = torch.randn(8192, 8192).pin_memory()
wide = torch.empty(8192, 16384, pin_memory=True)
gpu, wide_gpu = torch.empty(8192, 8192, device="cuda"), torch.empty(8192, 16384, device="cuda")
cases = {
    "whole, to the GPU": lambda: gpu.copy_(host, non_blocking=True),
    "half of the rows, to the GPU": lambda: gpu[:4096].copy_(host[:4096], non_blocking=True),
    "half of the columns, to the GPU": lambda: gpu[:, :4096].copy_(host[:, :4096], non_blocking=True),
    "into columns on the GPU": lambda: wide_gpu[:, :8192].copy_(host, non_blocking=True),
    "transposed, copy_()": lambda: gpu.copy_(host.T, non_blocking=True),
    "transposed, to()": lambda: host.T.to("cuda", non_blocking=True),
    "whole, to the host": lambda: host.copy_(gpu, non_blocking=True),
    "columns on the GPU, to the host": lambda: host.copy_(wide_gpu[:, :8192], non_blocking=True),
    "into pinned columns, to the host": lambda: wide[:, :8192].copy_(gpu, non_blocking=True),
}
found = {name: times(call) for name, call in cases.items()}
for name, (returned, done) in found.items():
    print(f"{name}: returns after {returned:.2f} ms, done after {done:.2f} ms")
slow = ("half of the columns, to the GPU", "transposed, copy_()", "into pinned columns, to the host")
ok = all(found[name][0] > 0.9 * found[name][1] > 15 for name in slow)
ok = ok and all(found[name][0] < 1 and found[name][1] < 15 for name in found if name not in slow)
print("as described" if ok else "CHANGED")
sys.exit(0 if ok else 1)
PY
"$python" "$folder/check.py"
