#!/usr/bin/env bash
# torchmetrics' ROUGE of two equal answers in Chinese or Russian is 0.
#
# Versions: torchmetrics 1.9.0, PyTorch 2.11.0.
# Behaviour: all that is not a to z or 0 to 9 is removed before the words are compared, so that
# nothing is left; an empty answer scores 0.
# A good engineer would guess: equal texts have the score 1 in any script.
# Output seen: rouge1 and rougeL of equal Chinese texts 0, of equal Russian ones 0, of equal English
# ones 1.
# Why it matters: summaries and answers in Chinese are a part of LongBench, and models answer in the
# language of the question. The score reads as a failure of the model.
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
import torchmetrics
from torchmetrics.functional.text import rouge_score

print("torchmetrics", torchmetrics.__version__)
texts = {
    "English": "the cat sat on the mat",
    "Chinese": "\u5317\u4eac\u662f\u4e2d\u56fd\u7684\u9996\u90fd",
    "Russian": "\u043f\u0440\u0438\u0432\u0435\u0442 \u043c\u0438\u0440",
}
found = {}
for name, text in texts.items():
    scores = rouge_score(text, text, rouge_keys=("rouge1", "rougeL"))
    found[name] = [float(scores[key + "_fmeasure"]) for key in ("rouge1", "rougeL")]
    print(f"{name}, equal texts: rouge1 {found[name][0]:.2f}, rougeL {found[name][1]:.2f}")
ok = min(found["English"]) > 0.99 and found["Chinese"] == found["Russian"] == [0, 0]
print("as described" if ok else "CHANGED")
sys.exit(0 if ok else 1)
PY
"$python" "$folder/check.py"
