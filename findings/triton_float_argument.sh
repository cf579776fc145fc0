#!/usr/bin/env bash
# A Python float given to a Triton kernel is f32, beside f64 numbers too; the same number written in
# the kernel is not.
#
# Versions: Triton 3.6.0 with PyTorch 2.11.0, NVIDIA H200.
# Behaviour: float arguments of a kernel have the type fp32. Arithmetic with f64 converts the number
# that is left. A literal in the kernel takes the type of its neighbour.
# A good engineer would guess: a Python float is a double, so that 1 in f64 times an argument 0.1 is
# the double 0.1, as with the literal.
# Output seen: 1 in f64 times 0.1: argument 0.10000000149011612, literal 0.1; 0 plus 16777217.0 as
# an argument is 16777216.
# Why it matters: a reference in f64, rotary frequencies and error bounds take their scale as an
# argument. They are off from the eighth digit on, and a position above 16,777,216 that is passed as
# a float is another.
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
import sys
import torch
import triton
import triton.language as tl


@triton.jit
def by_argument(numbers, out, scale, offset, N: tl.constexpr):
    place = tl.arange(0, N)
    one = tl.load(numbers + place)
    tl.store(out + place, one * scale)
    tl.store(out + N + place, one * 0 + offset)


@triton.jit
def by_literal(numbers, out, N: tl.constexpr):
    place = tl.arange(0, N)
    one = tl.load(numbers + place)
    tl.store(out + place, one * 0.1)
    tl.store(out + N + place, one * 0 + 16777217.0)


print("triton", triton.__version__, "torch", torch.__version__)
ones = torch.ones(64, dtype=torch.float64, device="cuda")
found = []
for kernel, arguments in ((by_argument, (0.1, 16777217.0)), (by_literal, ())):
    out = torch.zeros(128, dtype=torch.float64, device="cuda")
    kernel[(1,)](ones, out, *arguments, 64)
    found.append((out[0].item(), out[64].item()))
    print(f"{kernel.fn.__name__}: 1 * 0.1 = {found[-1][0]!r}, 0 + 16777217.0 = {found[-1][1]:.0f}")
ok = found[0] == (0.10000000149011612, 16777216.0) and found[1][0] == 0.1
print("as described" if ok else "CHANGED")
sys.exit(0 if ok else 1)
PY
"$python" "$folder/check.py"
