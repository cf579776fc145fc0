#!/usr/bin/env bash
# NCCL's average of integers overflows, where its average of floats does not.
#
# Versions: NCCL 2.28.9 through PyTorch 2.11.0, two NVIDIA H200.
# Behaviour: both ranks hold the same numbers and call all_reduce() with ReduceOp.AVG. Of floats each
# rank divides before it adds; integers are added first, and the sum overflows.
# A good engineer would guess: the average of two equal numbers is that number, in every type.
# Output seen: f16 60000 stays 60000.0, int32 1,500,000,000 becomes -647483648, uint8 200 becomes 72.
# Why it matters: counts of tokens, positions and 8-bit weights or caches are averaged over ranks without
# a word of warning. Sum in int64, or average floats.
#
# Needs two GPUs. Uses the python3 at hand if it has this PyTorch; installs it in a temporary folder else.
set -euo pipefail
WANTED=2.11.0
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python=python3
if [[ "$(python3 -c 'import torch; print(torch.__version__.split("+")[0])' 2>/dev/null)" != "$WANTED" ]]; then
  python3 -m venv "$folder/venv"
  "$folder/venv/bin/pip" install --quiet "torch==$WANTED" numpy==2.3.5
  python=$folder/venv/bin/python
fi
cat > "$folder/average.py" <<'PY'
import sys
import torch
import torch.distributed as dist

dist.init_process_group("nccl")
rank = dist.get_rank()
torch.cuda.set_device(rank)
found = {}
for dtype, value in ((torch.float16, 60000), (torch.int32, 1_500_000_000), (torch.uint8, 200)):
    numbers = torch.full((1,), value, dtype=dtype, device="cuda")
    dist.all_reduce(numbers, dist.ReduceOp.AVG)
    found[str(dtype)] = numbers.item()
ok = list(found.values()) == [59999 + 1, 1_500_000_000 - 2**31, 72]
if rank == 0:
    print("NCCL", torch.cuda.nccl.version(), found)
    print("as described" if ok else "CHANGED")
dist.destroy_process_group()
sys.exit(0 if ok else 1)
PY
"$python" -m torch.distributed.run --nproc_per_node 2 "$folder/average.py" 2>"$folder/errors" || { tail -5 "$folder/errors"; exit 1; }
