#!/usr/bin/env bash
# NCCL's maximum over ranks is never NaN, where PyTorch's own maximum always is.
#
# Versions: NCCL 2.28.9 through PyTorch 2.11.0, two NVIDIA H200.
# Behaviour: one rank holds NaN, the other a number, and all_reduce() with MAX or MIN gives both ranks
# the number, whichever rank it is, in f32, f64, f16, bf16 and both fp8 types. amax() over the same
# two values on one card gives NaN. SUM carries it.
# A good engineer would guess: an all_reduce is the operator of its name over the ranks, NaN included.
# Output seen: 2 for NaN and 2 in all types and orders; torch.amax nan; SUM nan.
# Why it matters: "is anything broken" is asked by a maximum over ranks, and scales of fp8 are the
# maximum of |x| over tensor-parallel ranks. A rank full of NaN is asked, and stays unnoticed.
#
# Needs two GPUs. Uses the python3 at hand if it has this PyTorch; installs it in a temporary folder
# else.
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
cat > "$folder/maximum.py" <<'PY'
import sys
import torch
import torch.distributed as dist

dist.init_process_group("nccl")
rank = dist.get_rank()
torch.cuda.set_device(rank)
nan = float("nan")
types = (torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2)
found = {}
for name in ("MAX", "MIN"):
    for dtype in types:
        for broken in (0, 1):
            for count in (1, 100_000):
                numbers = torch.full((count,), nan if rank == broken else 2.0, device="cuda").to(dtype)
                dist.all_reduce(numbers, getattr(dist.ReduceOp, name))
                found.setdefault(name, set()).update(numbers.float().unique().tolist())
numbers = torch.full((1,), nan if rank == 0 else 2.0, device="cuda")
dist.all_reduce(numbers)
local = torch.tensor([nan, 2.0], device="cuda").amax()
ok = found == {"MAX": {2.0}, "MIN": {2.0}} and numbers.isnan().item() and local.isnan().item()
if rank == 0:
    print("NCCL", torch.cuda.nccl.version(), found, "SUM", numbers.item(), "amax() of both", local.item())
    print("as described" if ok else "CHANGED")
dist.destroy_process_group()
sys.exit(0 if ok else 1)
PY
"$python" -m torch.distributed.run --nproc_per_node 2 "$folder/maximum.py" 2>"$folder/errors" || { tail -5 "$folder/errors"; exit 1; }
