#!/usr/bin/env bash
# Triton's sort replaces numbers when one of them is NaN: 1 NaN 3 2 becomes 1 1 2 3.
#
# Versions: Triton 3.6.0 with PyTorch 2.11.0, NVIDIA H200.
# Behaviour: pairs are exchanged by exclusive or with a mask that comes from comparisons and their
# opposite. With NaN both are false, so that one number is written twice and another one is gone; a
# NaN in the first place of eight fills all of them. tl.topk() uses the same steps.
# A good engineer would guess: NaN lands at one end (torch.sort, numpy), or the order is wrong; a sort
# returns the numbers that it was given.
# Output seen: 1 NaN 3 2 gives 1 1 2 3; NaN 1 3 2 0 9 5 4 gives eight NaN, its topk of four 9 5 4 0,
# without the 3.
# Why it matters: selections of blocks by score sort in a kernel, and a row without a visible key is 0
# / 0. Such a row's other scores are invented, and a copy of one passes for a score of its own.
#
# Needs a GPU. Uses the python3 at hand if it has these versions; installs them in a temporary folder
# else.
set -euo pipefail
WANTED="2.11.0 3.6.0"
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python=python3
have=$(python3 -c '
import torch, triton
print(torch.__version__.split("+")[0], triton.__version__.split("+")[0])' 2>/dev/null || true)
if [[ "$have" != "$WANTED" ]]; then
  python3 -m venv "$folder/venv"
  "$folder/venv/bin/pip" install --quiet torch==2.11.0 triton==3.6.0 numpy==2.3.5
  python=$folder/venv/bin/python
fi
cat >"$folder/check.py" <<'PY'
import sys
import torch
import triton
import triton.language as tl


@triton.jit
def sort(numbers, out, N: tl.constexpr):
    place = tl.arange(0, N)
    tl.store(out + place, tl.sort(tl.load(numbers + place)))


@triton.jit
def top(numbers, out, N: tl.constexpr, K: tl.constexpr):
    tl.store(out + tl.arange(0, K), tl.topk(tl.load(numbers + tl.arange(0, N)), K))


print("triton", triton.__version__, "torch", torch.__version__)
nan = float("nan")
found = {}
for numbers in ([1, nan, 3, 2], [nan, 1, 3, 2, 0, 9, 5, 4], [1, 0, 3, 2]):
    given = torch.tensor(numbers, device="cuda", dtype=torch.float32)
    out = torch.empty_like(given)
    sort[(1,)](given, out, len(numbers))
    best = torch.empty(2 * len(numbers) // 4, device="cuda")
    top[(1,)](given, best, len(numbers), len(best))
    found[len(found)] = str(out.int().tolist() if not out.isnan().any() else out.tolist())
    print(numbers, "sorted", out.tolist(), "torch", given.sort()[0].tolist(), f"top {len(best)}", best.tolist())
ok = found[0] == "[1, 1, 2, 3]" and found[1].count("nan") == 8 and found[2] == "[0, 1, 2, 3]"
print("as described" if ok else "CHANGED")
sys.exit(0 if ok else 1)
PY
"$python" "$folder/check.py"
