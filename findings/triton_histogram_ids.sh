#!/usr/bin/env bash
# tl.histogram() counts 100 of 8 bins as a 4, and elements that were masked out of the load as zeros.
#
# Versions: Triton 3.6.0 with PyTorch 2.11.0, NVIDIA H200.
# Behaviour: with 8 bins only the low five bits of a number are looked at, those of a lane of a warp:
# 8 to 31 are left out and 32 begins again at 0, so that -1 is left out and 100 is a 4. A masked load
# gives zeros, and the histogram has a mask of its own, without which they are counted.
# A good engineer would guess: numbers beyond the last bin are dropped (numpy, torch.histc) or an
# error of the compiler's checks; what a load masks is not there.
# Output seen: 8, 31 and -1 nowhere, 32 and 64 in bin 0, 100 in bin 4; of 3 numbers in a block of
# 1,024 there are 1,021 zeros, with a mask none.
# Why it matters: tokens per expert and per block are counted like this. An expert of another rank
# (number 36 of 8 local ones) is counted as the local 4, and the last block of a batch has too many
# for expert 0.
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
def count(ids, out, size, N: tl.constexpr, BINS: tl.constexpr, MASKED: tl.constexpr):
    place = tl.arange(0, N)
    inside = place < size
    chosen = tl.load(ids + place, mask=inside)
    counts = tl.histogram(chosen, BINS, mask=inside) if MASKED else tl.histogram(chosen, BINS)
    tl.store(out + tl.arange(0, BINS), counts)


def histogram(ids, block, masked):
    out = torch.zeros(8, dtype=torch.int32, device="cuda")
    given = torch.tensor(ids, dtype=torch.int32, device="cuda")
    count[(1,)](given, out, len(ids), block, 8, masked)
    return out.tolist()


print("triton", triton.__version__, "torch", torch.__version__)
found = {}
for number in (3, 7, 8, 31, 32, 36, 64, 100, -1):
    counts = histogram([number] * 128, 128, True)
    found[number] = [place for place, value in enumerate(counts) if value] or None
    print(f"128 times {number}: {counts}")
unmasked, masked = histogram([1, 2, 3], 1024, False), histogram([1, 2, 3], 1024, True)
print("1, 2, 3 in a block of 1024:", unmasked, "with a mask of the histogram:", masked)
ok = found == {3: [3], 7: [7], 8: None, 31: None, 32: [0], 36: [4], 64: [0], 100: [4], -1: None}
ok = ok and unmasked == [1021, 1, 1, 1, 0, 0, 0, 0] and masked == [0, 1, 1, 1, 0, 0, 0, 0]
print("as described" if ok else "CHANGED")
sys.exit(0 if ok else 1)
PY
"$python" "$folder/check.py"
