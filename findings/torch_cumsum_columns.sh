#!/usr/bin/env bash
# On a GPU PyTorch's cumsum down a few long columns takes hundreds of times as long as sorting them.
#
# Versions: PyTorch 2.11.0 (CUDA 13.0), NVIDIA H200.
# Behaviour: along the first axis one thread walks down each column, so that four columns of
# 4,194,304 numbers are added by four threads. sum(0), max(0) and sort(0) of the same tensor have no
# such step; transposing, adding along rows and transposing back gives the same numbers.
# A good engineer would guess: the axis costs a factor of two at most, and a running sum is cheaper
# than sorting.
# Output seen: [4194304, 4] of f32, in ms: cumsum(0) 572, sort(0) 1.4, sum(0) 0.1; by transposed
# rows 7.
# Why it matters: the place of a token in its expert, or of a key in its page, is cumsum(0) of a
# table [tokens, experts]. At a million tokens it outweighs the layer.
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


def milliseconds(call):
    times = []
    for _ in range(3):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        call()
        end.record()
        torch.cuda.synchronize()
        times.append(start.elapsed_time(end))
    return sorted(times)[1]


# Zeros and ones, so that the sums are exact in any order.
table = (torch.rand(1 << 22, 4, device="cuda") < 0.25).float()
ways = {
    "cumsum(0)": lambda: table.cumsum(0),
    "by rows": lambda: table.t().contiguous().cumsum(1).t().contiguous(),
    "sort(0)": lambda: table.sort(0),
    "sum(0)": lambda: table.sum(0),
}
same = torch.equal(ways["cumsum(0)"](), ways["by rows"]())
found = {name: milliseconds(way) for name, way in ways.items()}
print("in ms: " + ", ".join(f"{name} {ms:.2f}" for name, ms in found.items()) + f"; the same numbers: {same}")
ok = same and found["cumsum(0)"] > 10 * found["by rows"] and found["cumsum(0)"] > 30 * found["sort(0)"]
print("as described" if ok else "CHANGED")
sys.exit(0 if ok else 1)
PY
"$python" "$folder/check.py"
