#!/usr/bin/env bash
# "Fast accumulation" of fp8 products loses 5 to 6 % of a long sum, always downwards.
#
# Versions: PyTorch 2.11.0 (CUDA 13.0), one NVIDIA H200.
# Behaviour: _scaled_mm() multiplies e4m3 matrices; use_fast_accum leaves the sums to the matrix units.
# All products here are positive, and every one is exact; the sums come out too small. Sums of random
# signs hide it.
# A good engineer would guess: less than f32's accuracy, a per mille perhaps, with errors of both signs.
# Output seen: 4,096 times 448/512 is off by -6.027 %, the sum of 65,536 random products by -4.677 %;
# without fast accumulation +0.000 and -0.003 %.
# Why it matters: servers switch it on by default, since it is faster. Layers whose inputs are mostly of
# one sign (behind SwiGLU, softmax or a bias) are scaled down, and more so the longer the sum.
#
# Needs a GPU. Uses the python3 at hand if it has this PyTorch; installs it in a temporary folder else.
set -euo pipefail
WANTED=2.11.0
python=python3
if [[ "$(python3 -c 'import torch; print(torch.__version__.split("+")[0])' 2>/dev/null)" != "$WANTED" ]]; then
  folder=$(mktemp -d)
  trap 'rm -rf "$folder"' EXIT
  python3 -m venv "$folder/venv"
  "$folder/venv/bin/pip" install --quiet "torch==$WANTED" numpy==2.3.5
  python=$folder/venv/bin/python
fi
"$python" - <<'PY'
import sys
import torch

print("torch", torch.__version__, torch.cuda.get_device_name())
fp8 = torch.float8_e4m3fn
one = torch.tensor(1.0, device="cuda")
generator = torch.Generator().manual_seed(0)

def random(rows, k):
    return (torch.rand(rows, k, generator=generator) + 1).cuda().to(fp8)

cases = {
    "4096 times 448/512": (torch.full((16, 4096), 448.0, device="cuda").to(fp8),
                           torch.full((32, 4096), 1 / 512, device="cuda").to(fp8)),
    "65536 random products": (random(16, 65536), random(32, 65536)),
}
ok = True
for name, (a, b) in cases.items():
    exact = (a[0].double() * b[0].double()).sum().item()
    off = {}
    for fast in (False, True):
        sums = torch._scaled_mm(a, b.t(), scale_a=one, scale_b=one, out_dtype=torch.float32, use_fast_accum=fast)
        off[fast] = 100 * (sums[0, 0].item() / exact - 1)
    print(f"{name}: exact {exact:.1f}, error {off[False]:+.3f} %, with fast accumulation {off[True]:+.3f} %")
    ok = ok and abs(off[False]) < 0.01 and -10 < off[True] < -3
print("as described" if ok else "CHANGED")
sys.exit(0 if ok else 1)
PY
