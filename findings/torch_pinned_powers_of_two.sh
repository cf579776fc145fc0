#!/usr/bin/env bash
# PyTorch's pinned memory comes in powers of two: 1.1 GiB take 2 GiB, and deleting gives none back.
#
# Versions: PyTorch 2.11.0 (CUDA 13.0), NVIDIA H200, Linux.
# Behaviour: pin_memory=True, pin_memory() and the target of .to("cpu", non_blocking=True) round each
# request up to the next power of two. The pages are resident and locked at once, and stay with the
# process after del for the next request of that size. Ordinary CPU tensors take what they hold.
# A good engineer would guess: some kilobytes of rounding, as for memory of the GPU (2 MiB at most).
# Output seen: the process grows by 2.0 GiB for a tensor of 1.1 GiB and keeps them after del; the
# counter of torch.cuda.host_memory_stats() says 2 GiB.
# Why it matters: caches that are offloaded and weights that are streamed live in pinned memory. 65
# GiB of them ask for 128, and a node with 96 to spare kills the process although the sum fits.
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

print("torch", torch.__version__)
torch.zeros(1, device="cuda")


def resident():
    with open("/proc/self/status") as status:
        line = next(line for line in status if line.startswith("VmRSS"))
    return int(line.split()[1]) / 2**20


size = 1100 << 20
before = resident()
pinned = torch.empty(size, dtype=torch.uint8, pin_memory=True)
grown = resident() - before
counted = torch.cuda.host_memory_stats()["allocated_bytes.current"] / 2**30
del pinned
kept = resident() - before
before = resident()
plain = torch.empty(size, dtype=torch.uint8).fill_(1)
ordinary = resident() - before
print(f"{size / 2**30:.2f} GiB pinned: {grown:.2f} GiB more, counted {counted:.2f}, after del {kept:.2f}")
print(f"{size / 2**30:.2f} GiB not pinned: {ordinary:.2f} GiB more")
ok = 1.9 < grown < 2.2 and 1.9 < counted < 2.2 and kept > 1.9 and 1.0 < ordinary < 1.2
print("as described" if ok else "CHANGED")
sys.exit(0 if ok else 1)
PY
"$python" "$folder/check.py"
