#!/usr/bin/env bash
# Compiled by torch.compile, x / x is not 1 for a sixth of all numbers, and a // b is another
# function.
#
# Versions: PyTorch 2.11.0 (CUDA 13.0, Triton 3.6.0), NVIDIA H200.
# Behaviour: f32 divisions of the generated kernel are approximate. A quotient that f32 holds exactly
# can come out one step above or below. a // b is the floor of that quotient, where eager PyTorch
# divides with a remainder, as Python does: for b = 0.1, a little above a tenth, each result is one
# too large. a % b stays as in eager mode, so that (a // b) * b + a % b is no longer a. A constant
# divisor gives the eager results.
# A good engineer would guess: division is correctly rounded, as IEEE 754 asks; compiled and eager
# agree where the result is exact.
# Output seen: of 4,194,304 numbers 16 % have x / x other than 1; 7 n / 7 is not n for 67 % of n up to
# a million; n // 0.1 differs for all of them; eager 0 in the first two.
# Why it matters: places in blocks, buckets and scales are quotients. Tests in eager mode do not see
# it, and equality, floor() and ceil() behind a division pick a neighbour.
#
# Needs a GPU and a C++ compiler. Uses the python3 at hand if it has this PyTorch; installs it in a
# temporary folder else.
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
cat > "$folder/division.py" <<'PY'
import sys
import torch

print("torch", torch.__version__, torch.cuda.get_device_name())


def divide(a, b):
    return a / b


def divide_down(a, b):
    return a // b


def remainder(a, b):
    return a % b


compiled, compiled_down, compiled_rest = map(torch.compile, (divide, divide_down, remainder))
x = torch.rand(1 << 22, generator=torch.Generator().manual_seed(0)).cuda() + 1e-3
n = torch.arange(1, 1 << 20, device="cuda").float()
seven = torch.full_like(n, 7)
tenth = torch.full_like(n, 0.1)


def share(wrong):
    return 100 * wrong.double().mean().item()


eager = (share(divide(x, x.clone()) != 1), share(divide(7 * n, seven) != n))
found = (share(compiled(x, x.clone()) != 1), share(compiled(7 * n, seven) != n))
other = share(compiled_down(n, tenth) != divide_down(n, tenth))
same = share(compiled_rest(n, tenth) == remainder(n, tenth))
print(f"x / x is not 1: eager {eager[0]:.0f} %, compiled {found[0]:.0f} %")
print(f"7 n / 7 is not n: eager {eager[1]:.0f} %, compiled {found[1]:.0f} %")
print(f"n // 0.1 differs for {other:.0f} %, n % 0.1 is the same for {same:.0f} %; "
      f"1 // 0.1: eager {divide_down(n, tenth)[0].item():g}, compiled {compiled_down(n, tenth)[0].item():g}")
ok = eager == (0, 0) and 5 < found[0] < 40 and 30 < found[1] < 90 and other > 99 and same > 99
print("as described" if ok else "CHANGED")
sys.exit(0 if ok else 1)
PY
"$python" "$folder/division.py"
