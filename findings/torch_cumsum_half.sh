#!/usr/bin/env bash
# A running sum of bf16 or f16 numbers is rounded at each step on a GPU, and only once on a CPU.
#
# Versions: PyTorch 2.11.0 (CUDA 13.0), one NVIDIA H200.
# Behaviour: a CPU's cumsum() adds in f32, a GPU's rounds on the way, though sum() on the same GPU does
# not. With dtype=torch.float32 both are right.
# A good engineer would guess: cumsum() adds in f32 on both, as sum() does, so that its last number is the
# sum.
# Output seen: of 4,096 ones CPU 4096, GPU 4080 in both types, the GPU's sum 4096. Of 1,000 equal masses
# in bf16, 987 make 0.99 on a CPU; on a GPU all 1,000 do not.
# Why it matters: block selection sorts the masses of blocks and takes as many as a running sum needs to
# reach a threshold. In bf16 the GPU's sum falls short, so that a threshold near 1 is never reached and
# everything is computed.
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
ok = True
for dtype in (torch.bfloat16, torch.float16):
    ones = torch.ones(4096, dtype=dtype)
    on_gpu = ones.cuda()
    found = {
        "CPU cumsum": ones.cumsum(0)[-1].item(),
        "GPU cumsum": on_gpu.cumsum(0)[-1].item(),
        "GPU sum": on_gpu.sum().item(),
        "GPU cumsum in f32": on_gpu.cumsum(0, dtype=torch.float32)[-1].item(),
    }
    print(dtype, "4096 ones:", found)
    ok = ok and list(found.values()) == [4096, 4080, 4096, 4096]
# A selection by threshold: equal masses of 1,000 blocks, 0.99 of them asked for.
for dtype in (torch.bfloat16, torch.float32):
    mass = torch.full((1000,), 0.001, dtype=dtype)
    taken = [int((m.cumsum(0) < 0.99).sum().item()) + 1 for m in (mass, mass.cuda())]
    print(dtype, "blocks for 0.99 of the mass: CPU", taken[0], "GPU", taken[1])
    if dtype == torch.bfloat16:
        ok = ok and taken == [987, 1001]
print("as described" if ok else "CHANGED")
sys.exit(0 if ok else 1)
PY
