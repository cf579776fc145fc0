#!/usr/bin/env bash
# Triton's tl.dot of f32 matrices cuts the digits that TF32 has no room for; cuBLAS rounds them.
#
# Versions: PyTorch 2.11.0 (CUDA 13.0) with Triton 3.6.0, NVIDIA H200.
# Behaviour: input_precision is "tf32" unless said otherwise, and the bits of an f32 go to the matrix
# units as they are, which read the upper 19 of them. A number just below the next TF32 loses almost a
# whole step. Products of positive numbers are all too small; cuBLAS with TF32 allowed errs to both
# sides.
# A good engineer would guess: the conversion of the hardware (cvt.rna.tf32), to the nearest, or full
# f32.
# Output seen: 1 + 2^-10 - 2^-20 times 1 is 1 by tl.dot and 1 + 2^-10 by cuBLAS; products of random
# numbers from 1 to 2 are off by -6.4e-4 on average by tl.dot and by -5e-6 by cuBLAS.
# Why it matters: the errors add up instead of cancelling. A kernel of f32 states or log-sum-exps that
# was checked against PyTorch within "TF32's tolerance" scales its results down, a little at each
# layer.
#
# Needs a GPU. Uses the python3 at hand if it has this PyTorch; installs it in a temporary folder
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
cat > "$folder/dot.py" <<'PY'
import sys
import torch
import triton
import triton.language as tl


@triton.jit
def multiply(a, b, out, n: tl.constexpr):
    at = tl.arange(0, n)[:, None] * n + tl.arange(0, n)[None, :]
    tl.store(out + at, tl.dot(tl.load(a + at), tl.load(b + at)))


def by_triton(a, b):
    out = torch.empty_like(a)
    multiply[(1,)](a, b, out, len(a))
    return out


def by_cublas(a, b):
    torch.backends.cuda.matmul.allow_tf32 = True
    return a @ b


print("torch", torch.__version__, "triton", triton.__version__, torch.cuda.get_device_name())
n = 64
generator = torch.Generator().manual_seed(0)
a, b = ((torch.rand(n, n, generator=generator) + 1).cuda() for _ in range(2))
exact = a.double() @ b.double()
one = torch.eye(n, device="cuda")
near = torch.full((n, n), 1 + 2**-10 - 2**-20, device="cuda")
found = {}
for name, product in (("tl.dot", by_triton), ("cuBLAS", by_cublas)):
    steps = (product(near, one)[0, 0].item() - 1) * 1024
    off = (product(a, b).double() / exact - 1)
    found[name] = (steps, off.mean().item(), off.max().item())
    print(f"{name}: 1 + 2^-10 - 2^-20 becomes 1 + {steps:g} * 2^-10; relative errors {off.min():.1e} to "
          f"{off.max():.1e}, mean {off.mean():.1e}")
ok = found["tl.dot"][0] == 0 and found["cuBLAS"][0] == 1
ok = ok and found["tl.dot"][2] < -4e-4 and abs(found["cuBLAS"][1]) < 1e-5
print("as described" if ok else "CHANGED")
sys.exit(0 if ok else 1)
PY
"$python" "$folder/dot.py"
