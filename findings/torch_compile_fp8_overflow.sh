#!/usr/bin/env bash
# torch.compile turns an overflow of fp8 into the largest number, where the same line without it gives
# NaN or infinity.
#
# Versions: PyTorch 2.11.0 (CUDA 13.0, Triton 3.6.0), NVIDIA H200.
# Behaviour: .to(torch.float8_e4m3fn) of 10,000 or of infinity is NaN on a CPU and on a GPU, and by a
# compiled function on a CPU; compiled for a GPU it is 448. In e5m2, which has an infinity, infinity
# becomes 57,344. Numbers in range are alike in all four.
# A good engineer would guess: compiled code may differ in the last bit, not in which values are
# finite.
# Output seen: e4m3fn NaN NaN NaN eager, 448 448 -448 compiled; e5m2 inf inf -inf eager, 57344 57344
# -57344 compiled.
# Why it matters: an 8-bit cache or layer without a scale is found by its NaN in eager tests, and runs
# compiled in production: outliers are cut and answers get worse. The other way round, what was tuned
# compiled is NaN as soon as something makes the graph fall back to eager.
#
# Needs a GPU and a C++ compiler. Uses the python3 at hand if it has this PyTorch; installs it in a
# temporary folder else.
set -euo pipefail
WANTED=2.11.0
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python=python3
if [[ "$(python3 -c 'import torch; print(torch.__version__.split("+")[0])' 2>/dev/null)" != "$WANTED" ]]; then
  python3 -m venv "$folder/venv"
  "$folder/venv/bin/pip" install --quiet "torch==$WANTED" numpy==2.3.5
  python=$folder/venv/bin/python
fi
cat > "$folder/overflow.py" <<'PY'
import sys
import torch

print("torch", torch.__version__, torch.cuda.get_device_name())


def to_e4m3(x):
    return (x + 0).to(torch.float8_e4m3fn)


def to_e5m2(x):
    return (x + 0).to(torch.float8_e5m2)


expected = {
    "to_e4m3": {"eager": "1 448 nan nan nan", "compiled": "1 448 448 448 -448"},
    "to_e5m2": {"eager": "1 448 inf inf -inf", "compiled": "1 448 57344 57344 -57344"},
}
ok = True
x = torch.tensor([1.0, 448.0, 1e6, float("inf"), -float("inf")])
for convert in (to_e4m3, to_e5m2):
    compiled = torch.compile(convert)
    found = {
        "eager, CPU": convert(x), "eager, GPU": convert(x.cuda()),
        "compiled, CPU": compiled(x), "compiled, GPU": compiled(x.cuda()),
    }
    for how, y in found.items():
        text = " ".join(f"{value:g}" for value in y.float().tolist())
        print(f"{convert.__name__}, {how}: {text}")
        ok = ok and text == expected[convert.__name__]["compiled" if how == "compiled, GPU" else "eager"]
print("as described" if ok else "CHANGED")
sys.exit(0 if ok else 1)
PY
"$python" "$folder/overflow.py"
