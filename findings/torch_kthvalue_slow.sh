#!/usr/bin/env bash
# torch.kthvalue() of long rows takes several times as long as sorting all of them, and topk() a tenth
# of it.
#
# Versions: PyTorch 2.11.0 (CUDA 13.0), NVIDIA H200.
# Behaviour: one block of threads selects in each row, so that 8 rows use 8 of 132 multiprocessors;
# sort() and topk() use all of them. topk() at the same k gives the same value as its last one.
# A good engineer would guess: finding one element is cheaper than finding k, and both than sorting.
# Output seen, 8 rows of 1,048,576 f32, the 2,048th largest, in ms: kthvalue 5.0 and 5.2, median 4.3,
# sort 0.81 and 0.83, topk 0.18.
# Why it matters: thresholds over scores of a million tokens are asked for by kthvalue(), or by
# median(), which is the same code: selecting blocks then takes longer than attention over them.
#
# Needs a GPU. Uses the python3 at hand if it has this PyTorch; installs it in a temporary folder
# else.
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
cat > "$folder/select.py" <<'PY'
import sys
import torch

print("torch", torch.__version__, torch.cuda.get_device_name())


def milliseconds(run):
    run()
    times = []
    for _ in range(7):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        run()
        end.record()
        torch.cuda.synchronize()
        times.append(start.elapsed_time(end))
    return sorted(times)[3]


columns, k = 1 << 20, 2048
scores = torch.randn(8, columns, generator=torch.Generator().manual_seed(0)).cuda()
ways = {
    "kthvalue": lambda: scores.kthvalue(columns - k + 1).values,
    "sort": lambda: scores.sort(descending=True).values[:, k - 1],
    "topk": lambda: scores.topk(k).values[:, -1],
}
same = all(torch.equal(way(), ways["topk"]()) for way in ways.values())
found = {name: milliseconds(way) for name, way in ways.items()}
found["median"] = milliseconds(lambda: scores.median(-1))
text = ", ".join(f"{name} {ms:.2f}" for name, ms in found.items())
print(f"8 rows of {columns}, k {k}, in ms: {text}; the same value: {same}")
ok = same and found["kthvalue"] > 2.5 * found["sort"] and found["kthvalue"] > 8 * found["topk"]
print("as described" if ok else "CHANGED")
sys.exit(0 if ok else 1)
PY
"$python" "$folder/select.py"
