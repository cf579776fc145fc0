#!/usr/bin/env bash
# On a GPU, PyTorch's cumsum of two long rows takes hundreds of times as long as that of one row.
#
# Versions: PyTorch 2.11.0 (CUDA 13.0), NVIDIA H200.
# Behaviour: one row is scanned by the whole card. With two rows each is read by one block, in turn,
# so that 130 of 132 multiprocessors rest. cumprod() and logcumsumexp() are the same; cummax() takes
# one block for one row, too. sum() and sort() have no such step.
# A good engineer would guess: two rows take the time of one, or twice that.
# Output seen: 16,777,216 numbers a row: one row 0.07 ms, two rows 25.4 ms, sorting two rows 1.6 ms;
# two calls of one row each 0.13 ms.
# Why it matters: selections by mass (top-p, XAttention's threshold) and packed positions are running
# sums over the longest axis. They cost nothing for one prompt, and outweigh attention for a batch of
# two.
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
import sys
import torch

print("torch", torch.__version__, torch.cuda.get_device_name())


def milliseconds(call):
    best = float("inf")
    for _ in range(6):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        call()
        end.record()
        torch.cuda.synchronize()
        best = min(best, start.elapsed_time(end))
    return best


rows = torch.rand(2, 1 << 24, device="cuda")
found = {}
for name in ("cumsum", "cumprod", "logcumsumexp", "cummax", "sort", "sum"):
    one = milliseconds(lambda: getattr(rows[:1], name)(-1))
    two = milliseconds(lambda: getattr(rows, name)(-1))
    turn = milliseconds(lambda: [getattr(row[None], name)(-1) for row in rows])
    found[name] = one, two, turn
    print(f"{name}: one row {one:.2f} ms, two rows {two:.2f} ms, in two calls {turn:.2f} ms")
ok = found["cumsum"][1] > 50 * found["cumsum"][2] and found["cumsum"][1] > 5 * found["sort"][1]
ok = ok and found["sort"][1] < 5 * found["sort"][0] and found["cummax"][0] > 100 * found["cumsum"][0]
print("as described" if ok else "CHANGED")
sys.exit(0 if ok else 1)
PY
"$python" "$folder/check.py"
