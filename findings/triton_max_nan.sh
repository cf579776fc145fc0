#!/usr/bin/env bash
# In Triton max, min, maximum and clamp hide NaN: the maximum of a row is a number, and clamp gives
# 0.
#
# Versions: Triton 3.6.0 with PyTorch 2.11.0, NVIDIA H200.
# Behaviour: these functions return the other operand where one is NaN, unless propagate_nan is
# asked for where it can be. argmax() returns the place of the largest number. PyTorch's functions
# of the same names give NaN.
# A good engineer would guess: as in PyTorch and numpy: NaN goes through a maximum, and through
# limits.
# Output seen: 512 normal numbers with a NaN at place 5: tl.max, tl.min and tl.argmax are those of
# the other 511, maximum(x, 0) and clamp(x, 0, 1) are 0 at place 5; PyTorch NaN, NaN, 5, NaN and
# NaN.
# Why it matters: a kernel replaces a chain of PyTorch calls. The check for NaN over maxima of
# blocks is silent then, a scale of quantization comes from the rest of the row, and a broken
# activation is an ordinary 0 behind a clamp.
#
# Needs a GPU. Uses the python3 at hand if it has these versions; installs them in a temporary
# folder else.
set -euo pipefail
WANTED="2.11.0 3.6.0"
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python=python3
have=$(python3 -c '
from importlib.metadata import version
print(*(version(name).split("+")[0] for name in ("torch", "triton")))' 2>/dev/null || true)
if [[ "$have" != "$WANTED" ]]; then
  python3 -m venv "$folder/venv"
  "$folder/venv/bin/pip" install --quiet torch==2.11.0 triton==3.6.0
  python=$folder/venv/bin/python
fi
cat >"$folder/check.py" <<'PY'
import math
import sys
import torch
import triton
import triton.language as tl


@triton.jit
def limits(numbers, out, N: tl.constexpr):
    place = tl.arange(0, N)
    x = tl.load(numbers + place)
    tl.store(out + place, tl.max(x, 0) + place * 0)
    tl.store(out + N + place, tl.min(x, 0) + place * 0)
    tl.store(out + 2 * N + place, (tl.argmax(x, 0) + place * 0).to(tl.float32))
    tl.store(out + 3 * N + place, tl.maximum(x, 0.0))
    tl.store(out + 4 * N + place, tl.clamp(x, 0.0, 1.0))


print("triton", triton.__version__, "torch", torch.__version__)
x = torch.randn(512, generator=torch.Generator().manual_seed(0)).cuda()
rest = torch.cat([x[:5], x[6:]])
largest, smallest = rest.max().item(), rest.min().item()
x[5] = float("nan")
out = torch.empty(5, 512, device="cuda")
limits[(1,)](x, out, 512)
found = out[:, 5].tolist()
same = [x.max().item(), x.min().item(), x.argmax().item(), torch.maximum(x, torch.zeros_like(x))[5].item(),
        x.clamp(0, 1)[5].item()]
for name, one, other in zip(("max", "min", "argmax", "maximum with 0", "clamp to 0 and 1"), found, same):
    print(f"{name}: triton {one:.4f}, torch {other:.4f}")
ok = found[0] == largest and found[1] == smallest and found[2] != 5 and found[3] == found[4] == 0
ok = ok and same[2] == 5 and all(math.isnan(same[place]) for place in (0, 1, 3, 4))
print("as described" if ok else "CHANGED")
sys.exit(0 if ok else 1)
PY
"$python" "$folder/check.py"
