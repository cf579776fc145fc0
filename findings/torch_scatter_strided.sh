#!/usr/bin/env bash
# torch.distributed's scatter() sends the wrong numbers of parts that are strided.
#
# Versions: PyTorch 2.11.0 with NCCL 2.28.9 and Gloo, two NVIDIA H200.
# Behaviour: rank 0 scatters numbers[0::2] and numbers[1::2] of 0 to 7. Each part is sent as the
# memory behind its first element. Over NCCL rank 0's own part is right and rank 1's is wrong; over
# Gloo both are. all_reduce() over NCCL refuses such tensors.
# A good engineer would guess: the parts arrive, or the call raises "Tensors must be contiguous" like
# its neighbours.
# Output seen: NCCL 0 2 4 6 and 1 2 3 4; Gloo 0 1 2 3 and 1 2 3 4, where 0 2 4 6 and 1 3 5 7 are
# right.
# Why it matters: sequences are dealt out to ranks in turn (striped attention, balanced causal masks)
# and columns of weights as views. A test with one rank, or that looks at rank 0, passes over NCCL.
#
# Needs two GPUs. Uses the python3 at hand if it has these versions; installs them in a temporary
# folder else.
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
import torch.distributed as dist

dist.init_process_group("cpu:gloo,cuda:nccl")
rank = dist.get_rank()
torch.cuda.set_device(rank)
found = {}
for device in ("cuda", "cpu"):
    numbers = torch.arange(8.0, device=device)
    for name, parts in (("strided", [numbers[0::2], numbers[1::2]]),
                        ("contiguous", [numbers[0::2].contiguous(), numbers[1::2].contiguous()])):
        out = torch.zeros(4, device=device)
        dist.scatter(out, parts if rank == 0 else None, 0)
        both = torch.zeros(8)
        both[4 * rank:4 * rank + 4] = out.cpu()
        dist.all_reduce(both)
        found[device, name] = both.int().tolist()
    try:
        dist.all_reduce(numbers[0::2])
        found[device, "all_reduce"] = "taken"
    except ValueError as error:
        found[device, "all_reduce"] = str(error)
if rank == 0:
    print("torch", torch.__version__, "NCCL", torch.cuda.nccl.version())
    for (device, name), value in found.items():
        print(device, name, value)
right = [0, 2, 4, 6, 1, 3, 5, 7]
ok = found["cuda", "contiguous"] == right and found["cpu", "contiguous"] == right
ok = ok and found["cuda", "strided"] == [0, 2, 4, 6, 1, 2, 3, 4]
ok = ok and found["cpu", "strided"] == [0, 1, 2, 3, 1, 2, 3, 4]
if rank == 0:
    print("as described" if ok else "CHANGED")
dist.destroy_process_group()
sys.exit(0 if ok else 1)
PY
"$python" -m torch.distributed.run --nproc_per_node 2 "$folder/check.py" 2>"$folder/errors" || { tail -5 "$folder/errors"; exit 1; }
