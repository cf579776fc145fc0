#!/usr/bin/env bash
# F.normalize() of a zero row is NaN in f16, and 0 in bf16 and f32.
#
# Versions: PyTorch 2.11.0, on a CPU; a GPU does the same.
# Behaviour: the eps of 1e-12 that protects from a division by zero is converted to the type of the
# input, where f16 has nothing below 6e-8: it is 0. cosine_similarity() with its 1e-8 is the same.
# A good engineer would guess: a default eps works in all types that the function takes, or it takes
# f32 inside, as layer_norm() beside it does.
# Output seen: zero rows: f16 NaN from normalize and cosine_similarity, bf16 and f32 0, layer_norm 0.
# Why it matters: embeddings of empty texts and padding rows are zero vectors. In f16 one of them
# makes every similarity of its column NaN; tests in f32 or bf16 see zeros.
#
# Uses the python3 at hand if it has these versions; installs them in a temporary folder else.
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

print("torch", torch.__version__)
ok = True
for dtype in (torch.float16, torch.bfloat16, torch.float32):
    zero, one = torch.zeros(1, 4, dtype=dtype), torch.ones(1, 4, dtype=dtype)
    found = {
        "normalize": F.normalize(zero)[0, 0].item(),
        "cosine_similarity": F.cosine_similarity(zero, one)[0].item(),
        "layer_norm": F.layer_norm(zero, (4,))[0, 0].item(),
        "normalize with 1e-7": F.normalize(zero, eps=1e-7)[0, 0].item(),
    }
    print(str(dtype)[6:], found)
    bad = [math.isnan(value) for value in found.values()]
    ok = ok and bad == ([True, True, False, False] if dtype is torch.float16 else [False] * 4)
print("as described" if ok else "CHANGED")
sys.exit(0 if ok else 1)
PY
"$python" "$folder/check.py"
