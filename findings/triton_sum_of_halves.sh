#!/usr/bin/env bash
# tl.sum() adds halves as halves: 4,096 times 32 is infinite in Triton, and in int8 it is right.
#
# Versions: PyTorch 2.11.0 (CUDA 13.0) with Triton 3.6.0, NVIDIA H200.
# Behaviour: numbers of 8 and 16 bits are widened to 32 if they are integers. f16 and bf16 are added
# in their own type, at each step of the tree, and converting the result to f32 comes too late.
# torch.sum() of the same tensor adds in f32, and rounds once.
# A good engineer would guess: f32 inside, as in torch.sum(), tl.dot() and tl.sum() of integers.
# Output seen: 4,096 times 32 is inf in f16, 131072 in bf16 and int8; 4,096 times 0.1 is 408.5 in f16
# and 402 in bf16 (torch.sum: 409.5 and 410).
# Why it matters: sums of squares of a norm and row sums of a softmax are written this way in a kernel
# that loads halves. A norm over 4,096 activations overflows or is off by 2 %; .to(tl.float32) mends
# it.
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
cat > "$folder/sums.py" <<'PY'
import sys
import torch
import triton
import triton.language as tl


@triton.jit
def add_up(x, out, n: tl.constexpr):
    tl.store(out, tl.sum(tl.load(x + tl.arange(0, n))).to(tl.float32))


print("torch", torch.__version__, "triton", triton.__version__, torch.cuda.get_device_name())
expected = {(torch.float16, 32): "inf", (torch.bfloat16, 32): "131072", (torch.int8, 32): "131072",
            (torch.float16, 0.1): "408.5", (torch.bfloat16, 0.1): "402"}
ok = True
for (dtype, value), wanted in expected.items():
    x = torch.full((4096,), value, device="cuda", dtype=dtype)
    out = torch.zeros(1, device="cuda")
    add_up[(1,)](x, out, len(x))
    text = f"{out.item():g}"
    exact = x.double().sum().item()
    print(f"{str(dtype)[6:]}, 4096 times {value}: tl.sum {text}, exact {exact:g}, torch.sum {x.sum().item():g}")
    ok = ok and text == wanted
print("as described" if ok else "CHANGED")
sys.exit(0 if ok else 1)
PY
"$python" "$folder/sums.py"
