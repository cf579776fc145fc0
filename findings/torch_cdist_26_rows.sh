#!/usr/bin/env bash
# From 26 rows on, torch.cdist(x, x) gives the distance from a row to itself as 0.5, where 25 give 0.
#
# Versions: PyTorch 2.11.0 (CUDA 13.0), NVIDIA H200; a CPU does the same.
# Behaviour: above 25 rows on either side cdist() takes |a|^2 + |b|^2 - 2ab instead of differences,
# and the square root of what f32 leaves of that. Rows with a common offset lose most: of numbers
# around 100 with a spread of 1 the error is 0.5. compute_mode="donot_use_mm_for_euclid_dist" has no
# such step.
# A good engineer would guess: the distances of 25 rows do not change when one more row is added, and
# the diagonal is 0.
# Output seen: largest distance of a row to itself 0 with 25 rows, 0.5 with 26, of distances about 12;
# rows that are 0.3 apart come out 0 to 0.56 apart.
# Why it matters: keys have such offsets (a few channels far from 0), and clusters of them, nearest
# blocks and duplicates are found by cdist. Tests with a handful of rows take the other formula.
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
rows = torch.randn(26, 64, generator=torch.Generator().manual_seed(0)) + 100
step = torch.full((64,), 0.3 / 8)
found = {}
for device in ("cpu", "cuda"):
    x = rows.to(device)
    own = [torch.cdist(x[:count], x[:count]).diagonal().max().item() for count in (25, 26)]
    safe = torch.cdist(x, x, compute_mode="donot_use_mm_for_euclid_dist")
    near = [torch.cdist(x[:count], x[:count] + step.to(device)).diagonal() for count in (25, 26)]
    found[device] = own, safe.diagonal().max().item(), near
    print(f"{device}: to itself {own[0]:.2f} of 25 rows, {own[1]:.2f} of 26, by differences "
          f"{found[device][1]:.2f}; others about {safe[0, 1:].mean().item():.0f}")
    print(f"{device}: rows 0.3 apart are {near[0].min().item():.2f} to {near[0].max().item():.2f} apart of 25, "
          f"{near[1].min().item():.2f} to {near[1].max().item():.2f} of 26")
ok = all(own[0] == 0 and 0.2 < own[1] < 1 and safe == 0 for own, safe, _ in found.values())
spread = [[(one.max() - one.min()).item() for one in near] for _, _, near in found.values()]
ok = ok and all(few < 0.01 < 0.1 < many for few, many in spread)
print("as described" if ok else "CHANGED")
sys.exit(0 if ok else 1)
PY
"$python" "$folder/check.py"
