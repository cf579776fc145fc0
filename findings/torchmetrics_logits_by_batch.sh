#!/usr/bin/env bash
# torchmetrics takes scores for logits only if one of the batch lies outside of 0 to 1.
#
# Versions: torchmetrics 1.9.0, PyTorch 2.11.0.
# Behaviour: binary metrics apply the sigmoid if any score is below 0 or above 1, batch by batch. In
# f32 the sigmoid of 20, 30 and 40 is 1, so that such scores tie.
# A good engineer would guess: what a score is depends on the caller, not on its neighbours; a
# ranking metric sees ranks only, so that a monotone function does not matter.
# Output seen: scores 0.2, 0.4 of label 1: accuracy 0; beside a third of 3.0: accuracy 1 for all
# three. AUROC of 20, 30, 40, -1 with labels 0, 0, 1, 0 is 0.67, of 2, 3, 4, -1 it is 1.
# Why it matters: judges and rerankers give logits. The accuracy of a run depends on its batch size,
# and two models with the same ranking have different AUROC.
#
# Uses the python3 at hand if it has these versions; installs them in a temporary folder else.
set -euo pipefail
WANTED="1.9.0 2.11.0"
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python=python3
have=$(python3 -c '
from importlib.metadata import version
print(*(version(name).split("+")[0] for name in ("torchmetrics", "torch")))' 2>/dev/null || true)
if [[ "$have" != "$WANTED" ]]; then
  python3 -m venv "$folder/venv"
  "$folder/venv/bin/pip" install --quiet torchmetrics==1.9.0 torch==2.11.0
  python=$folder/venv/bin/python
fi
cat >"$folder/check.py" <<'PY'
import sys
import torch
import torchmetrics
from torchmetrics.functional.classification import binary_accuracy, binary_auroc

print("torchmetrics", torchmetrics.__version__, "torch", torch.__version__)
tensor = torch.tensor
found = {
    "accuracy of 0.2, 0.4": binary_accuracy(tensor([0.2, 0.4]), tensor([1, 1])),
    "accuracy of 0.2, 0.4, 3.0": binary_accuracy(tensor([0.2, 0.4, 3.0]), tensor([1, 1, 1])),
    "AUROC of 20, 30, 40, -1": binary_auroc(tensor([20.0, 30.0, 40.0, -1.0]), tensor([0, 0, 1, 0])),
    "AUROC of 2, 3, 4, -1": binary_auroc(tensor([2.0, 3.0, 4.0, -1.0]), tensor([0, 0, 1, 0])),
}
for name, value in found.items():
    print(f"{name}: {value.item():.3f}")
ok = [round(value.item(), 2) for value in found.values()] == [0, 1, 0.67, 1]
print("as described" if ok else "CHANGED")
sys.exit(0 if ok else 1)
PY
"$python" "$folder/check.py"
