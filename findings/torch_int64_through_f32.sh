#!/usr/bin/env bash
# In PyTorch one Python float beside an int64 tensor turns it into f32: clamp(max=1e18) changes
# offsets.
#
# Versions: PyTorch 2.11.0 (CUDA 13.0), numpy 2.5.2, NVIDIA H200.
# Behaviour: a Python float gives an integer tensor the default type, float32, which has 24 bits:
# clamp() with a bound like 1e18, where(), / and comparisons all go through it. On a GPU linspace()
# of int64 steps in f32, too. numpy takes float64.
# A good engineer would guess: clamp() returns the type and the numbers that it was given, as long
# as they are inside; int64 / 1 is exact to 2**53, as in numpy; 16,777,217 is not 2.0**24.
# Output seen: of 16777217, 2147483649, 33554434: clamp(max=1e18) float32 16777216 2147483648
# 33554432, / 1 and where(n > 0, n, 0.0) the same, n == 2.0**24 true for the first. linspace(0,
# 1000000001, 4) as int64 is 0 333333333 666666667 1000000001 on a CPU and 0 333333344 666666624
# 1000000000 on a GPU.
# Why it matters: offsets into corpora and caches are int64, and limits are written 1e9. Records are
# cut in other places, and the last block of an even division ends before the end.
#
# Needs a GPU. Uses the python3 at hand if it has these versions; installs them in a temporary
# folder else.
set -euo pipefail
WANTED="2.11.0 2.5.2"
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python=python3
have=$(python3 -c '
from importlib.metadata import version
print(*(version(name).split("+")[0] for name in ("torch", "numpy")))' 2>/dev/null || true)
if [[ "$have" != "$WANTED" ]]; then
  python3 -m venv "$folder/venv"
  "$folder/venv/bin/pip" install --quiet torch==2.11.0 numpy==2.5.2
  python=$folder/venv/bin/python
fi
cat >"$folder/check.py" <<'PY'
import sys
import torch

print("torch", torch.__version__, torch.cuda.get_device_name())
numbers = torch.tensor([2**24 + 1, 2**31 + 1, 2 * (2**24 + 1)])
cut = [2**24, 2**31, 2**25]
ways = {
    "n.clamp(max=1e18)": numbers.clamp(max=1e18),
    "n / 1": numbers / 1,
    "where(n > 0, n, 0.0)": torch.where(numbers > 0, numbers, 0.0),
}
ok = True
for name, result in ways.items():
    print(f"{name}: {result.dtype} {result.long().tolist()}")
    ok = ok and result.dtype == torch.float32 and result.long().tolist() == cut
equal = (numbers == 2.0**24).tolist()
whole = numbers.clamp(max=10**18)
exact = (numbers.numpy() / 1).astype(int).tolist()
print("n == 2.0**24:", equal)
print("n.clamp(max=10**18):", whole.dtype, whole.tolist())
print("numpy n / 1:", exact)
ok = ok and equal == [True, False, False] and whole.dtype == torch.int64 and exact == whole.tolist() == numbers.tolist()
ends = {}
for device in ("cpu", "cuda"):
    ends[device] = torch.linspace(0, 10**9 + 1, 4, dtype=torch.int64, device=device).tolist()
    print(f"linspace of int64, {device}: {ends[device]}")
ok = ok and ends["cpu"] == [0, 333333333, 666666667, 1000000001] and ends["cuda"][-1] == 1000000000
print("as described" if ok else "CHANGED")
sys.exit(0 if ok else 1)
PY
"$python" "$folder/check.py"
