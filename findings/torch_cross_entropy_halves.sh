#!/usr/bin/env bash
# The mean loss of 100,000 tokens in f16 is 2.49 or NaN, by the layout of the tensor and by the
# device.
#
# Versions: PyTorch 2.11.0 (CUDA 13.0), NVIDIA H200.
# Behaviour: cross_entropy() of [tokens, classes] on a GPU sums losses and weights in f32. On a CPU,
# and on a GPU for the layout [1, classes, tokens], both sums are halves: above 65,504 they are
# infinite, and their quotient is NaN. A smaller sum of weights is rounded, so that the mean is off
# without a sign. log_softmax() over a vocabulary of 131,072 halves is -inf on a CPU, too.
# A good engineer would guess: two layouts of one tensor have one loss, and a mean of numbers around
# 2.5 is about 2.5.
# Output seen: f32 2.489; f16 GPU 2.488, by the other layout NaN, CPU NaN; log_softmax of 131,072
# zeros -11.78 on a GPU, -inf on a CPU.
# Why it matters: perplexity over a long document is one such call; half precision on a CPU is how a
# small test runs. Padding and weights are rounded for shorter documents already.
#
# Needs a GPU. Uses the python3 at hand if it has these versions; installs them in a temporary folder
# else.
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
import math
import sys
import torch
import torch.nn.functional as F

print("torch", torch.__version__, torch.cuda.get_device_name())
found = {}
for device in ("cuda", "cpu"):
    for tokens in (1_000, 100_000):
        logits = torch.randn(tokens, 8, generator=torch.Generator().manual_seed(0)).to(device)
        target = torch.arange(tokens, device=device) % 8
        half = logits.half()
        found[device, tokens] = [
            F.cross_entropy(logits, target).item(),
            F.cross_entropy(half, target).item(),
            F.cross_entropy(half.T[None], target[None]).item(),
        ]
        losses = (f"{loss:.4f}" for loss in found[device, tokens])
        print(device, tokens, "f32, f16, f16 as [1, 8, tokens]:", *losses)
    found[device] = torch.zeros(131_072, dtype=torch.half, device=device).log_softmax(0)[0].item()
    print(device, "log_softmax of 131072 zeros:", found[device])
gpu, cpu = found["cuda", 100_000], found["cpu", 100_000]
ok = abs(gpu[1] - gpu[0]) < 0.01 and math.isnan(gpu[2]) and math.isnan(cpu[1]) and math.isnan(cpu[2])
ok = ok and found["cpu"] == -math.inf and abs(found["cuda"] + math.log(131_072)) < 0.02
print("as described" if ok else "CHANGED")
sys.exit(0 if ok else 1)
PY
"$python" "$folder/check.py"
