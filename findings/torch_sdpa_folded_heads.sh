#!/usr/bin/env bash
# Decode attention with grouped heads folded into query rows takes 14 times as long as with
# enable_gqa.
#
# Versions: PyTorch 2.11.0 (CUDA 13.0), NVIDIA H200.
# Behaviour: scaled_dot_product_attention() of one query row a head spreads the keys over the card.
# With the four query heads of a key head as four rows it takes the time of one block for each of
# eight key heads.
# A good engineer would guess: folding reads each key once and makes larger products of the same
# numbers, so that it is at least as fast as enable_gqa=True.
# Output seen: 32 heads over 8, 131,072 keys of 128 in bf16, one new token: enable_gqa 0.11 ms,
# folded 1.53 ms, equal to the rounding.
# Why it matters: the folding is what kernels for grouped heads do inside, and is written by hand
# where enable_gqa was missing. A decode step over a long cache then runs at a fourteenth of the
# rate.
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
from torch.nn.functional import scaled_dot_product_attention

print("torch", torch.__version__, torch.cuda.get_device_name())


def milliseconds(call):
    call()
    times = []
    for _ in range(9):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        call()
        end.record()
        torch.cuda.synchronize()
        times.append(start.elapsed_time(end))
    return sorted(times)[4]


torch.manual_seed(0)
query = torch.randn(1, 32, 1, 128, device="cuda", dtype=torch.bfloat16)
keys = torch.randn(1, 8, 131072, 128, device="cuda", dtype=torch.bfloat16)
grouped = lambda: scaled_dot_product_attention(query, keys, keys, enable_gqa=True)
folded = lambda: scaled_dot_product_attention(query.view(1, 8, 4, 128), keys, keys)
off = (grouped().reshape(1, 8, 4, 128) - folded()).abs().max().item()
times = milliseconds(grouped), milliseconds(folded)
print(f"enable_gqa {times[0]:.2f} ms, folded {times[1]:.2f} ms, largest output {grouped().abs().max().item():.4f}, "
      f"difference {off:.0e}")
ok = off < 0.02 and times[1] > 4 * times[0]
print("as described" if ok else "CHANGED")
sys.exit(0 if ok else 1)
PY
"$python" "$folder/check.py"
