#!/usr/bin/env bash
# On a GPU 2,000 draws of torch.multinomial() from 100,000 equal bf16 probabilities are 525 tokens.
#
# Versions: PyTorch 2.11.0 (CUDA 13.0), NVIDIA H200.
# Behaviour: several draws with replacement look a random number up in the running sum of the
# probabilities, which is kept in their type. Between 0.5 and 1 bf16 has 128 values, so that half of
# all draws fall on 128 tokens. One draw a row, draws without replacement and draws on a CPU take
# another way and are right.
# A good engineer would guess: equal probabilities are drawn equally often, in any type that holds
# them; bf16 rounds them all alike.
# Output seen: different tokens of 2,000 draws: GPU f32 1,976, f16 1,422, bf16 525, of which
# 128 in the upper half of the vocabulary; CPU bf16 1,986; 2,000 rows with one draw each on a GPU
# 1,966.
# Why it matters: several samples of one prompt (pass@k, speculative trees, best of n) are drawn
# like this from a softmax in bf16. They collide, the rest of the vocabulary cannot come up, and a
# test on a CPU or with one draw sees nothing.
#
# Needs a GPU. Uses the python3 at hand if it has these versions; installs them in a temporary
# folder else.
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

print("torch", torch.__version__, torch.cuda.get_device_name())
torch.manual_seed(0)
tokens, draws = 100_000, 2000
found = {}
for device, dtype in (("cuda", torch.float32), ("cuda", torch.float16), ("cuda", torch.bfloat16), ("cpu", torch.bfloat16)):
    probs = torch.full((tokens,), 1 / tokens, dtype=dtype, device=device)
    ids = torch.multinomial(probs, draws, replacement=True)
    upper = ids[ids >= tokens // 2]
    found[device, dtype] = ids.unique().numel()
    print(f"{device} {dtype}: {found[device, dtype]} different of {draws}, mean {ids.double().mean().item():.0f}; "
          f"in the upper half {upper.unique().numel()} different of {upper.numel()}")
rows = torch.full((draws, tokens), 1 / tokens, dtype=torch.bfloat16, device="cuda")
single = torch.multinomial(rows, 1).unique().numel()
print(f"cuda bfloat16, one draw a row: {single} different of {draws}")
ok = found["cuda", torch.bfloat16] < 900 and found["cuda", torch.float16] < 1700
ok = ok and found["cuda", torch.float32] > 1900 and found["cpu", torch.bfloat16] > 1900 and single > 1900
print("as described" if ok else "CHANGED")
sys.exit(0 if ok else 1)
PY
"$python" "$folder/check.py"
