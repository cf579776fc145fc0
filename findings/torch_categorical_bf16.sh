#!/usr/bin/env bash
# In PyTorch Categorical(probs=...) in bf16 has no log-probability below -4.84, in f32 none below
# -15.9.
#
# Versions: PyTorch 2.11.0, on a CPU.
# Behaviour: probabilities are clamped to the machine epsilon of their type before the logarithm:
# 1/128 in bf16, 1/1,024 in f16, 1.2e-7 in f32. Bernoulli does the same. The type has exponents far
# below; given logits instead of probabilities there is no clamp.
# A good engineer would guess: log_prob() is the logarithm of the probability within the rounding of
# the type, -inf for 0.
# Output seen: log_prob of 0.001, 0.00001, 1e-9 and 0: bf16 -4.84 four times, f16 -6.91 -6.93 -6.93
# -6.93, f32 -6.91 -11.5 -15.9 -15.9. The entropy of 100,000 equal tokens is 4.84 in bf16 from
# probabilities, 11.56 from logits, 11.51 in f32.
# Why it matters: log-probabilities of samples, ratios of policies, entropies and perplexities are
# computed by these classes, from a softmax in the type of the model. A token of one in a million
# counts as one in 128, and a whole vocabulary has the entropy of 128 tokens.
#
# Uses the python3 at hand if it has these versions; installs them in a temporary folder else.
set -euo pipefail
WANTED="2.11.0"
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python=python3
have=$(python3 -c '
from importlib.metadata import version
print(*(version(name).split("+")[0] for name in ("torch",)))' 2>/dev/null || true)
if [[ "$have" != "$WANTED" ]]; then
  python3 -m venv "$folder/venv"
  "$folder/venv/bin/pip" install --quiet torch==2.11.0
  python=$folder/venv/bin/python
fi
cat >"$folder/check.py" <<'PY'
import sys
import torch
from torch.distributions import Bernoulli, Categorical

print("torch", torch.__version__)
probs = [1.0, 1e-3, 1e-5, 1e-9, 0.0]
found = {}
for dtype in (torch.float32, torch.bfloat16, torch.float16):
    p = torch.tensor(probs, dtype=dtype)
    found[dtype] = Categorical(probs=p).log_prob(torch.arange(5)).tolist()
    coin = Bernoulli(p).log_prob(torch.ones(5, dtype=dtype)).tolist()
    print(f"{dtype}: log_prob of {probs[1:]}: {[round(value, 2) for value in found[dtype][1:]]}, "
          f"Bernoulli {[round(value, 2) for value in coin[1:]]}")
entropy = {}
for dtype in (torch.float32, torch.bfloat16):
    entropy[dtype] = (Categorical(probs=torch.ones(100_000, dtype=dtype)).entropy().item(),
                      Categorical(logits=torch.zeros(100_000, dtype=dtype)).entropy().item())
    print(f"{dtype}: entropy of 100,000 equal: {entropy[dtype][0]:.2f}, from logits {entropy[dtype][1]:.2f}")
ok = all(-4.9 < value < -4.8 for value in found[torch.bfloat16][1:])
ok = ok and all(-7 < value < -6.8 for value in found[torch.float16][1:])
ok = ok and all(-16 < value < -15.9 for value in found[torch.float32][3:])
ok = ok and entropy[torch.bfloat16][0] < 5 < 11 < entropy[torch.bfloat16][1] < 12
ok = ok and all(11.4 < value < 11.6 for value in entropy[torch.float32])
print("as described" if ok else "CHANGED")
sys.exit(0 if ok else 1)
PY
"$python" "$folder/check.py"
