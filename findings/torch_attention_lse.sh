#!/usr/bin/env bash
# The log-sum-exp that PyTorch's attention returns has another shape in each back end, and another
# value where a query sees no key.
#
# Versions: PyTorch 2.11.0 (CUDA 13.0, cuDNN 9.19), one NVIDIA H200.
# Behaviour: the operators behind scaled_dot_product_attention() return the log-sum-exp of each query's
# scores, which is what merges attention over parts of the keys. The memory-efficient one fills it up to a
# multiple of 32 queries with +inf, cuDNN's has one dimension more. For a row whose mask is -inf
# throughout, cuDNN gives -inf, memory-efficient 0.
# A good engineer would guess: [batch, heads, queries], and -inf where nothing is seen.
# Output seen for 104 queries: flash [1, 2, 104], efficient [1, 2, 128], cuDNN [1, 2, 104, 1]; a row
# without keys: efficient 0.0, cuDNN -inf.
# Why it matters: a merge of ranks by log-sum-exp weighs a part by exp(lse - max). A rank without visible
# keys must weigh nothing; 0 makes it weigh as much as a key with score 0, and its zeros dilute the sum.
#
# Needs a GPU. Uses the python3 at hand if it has this PyTorch; installs it in a temporary folder else.
set -euo pipefail
WANTED=2.11.0
python=python3
if [[ "$(python3 -c 'import torch; print(torch.__version__.split("+")[0])' 2>/dev/null)" != "$WANTED" ]]; then
  folder=$(mktemp -d)
  trap 'rm -rf "$folder"' EXIT
  python3 -m venv "$folder/venv"
  "$folder/venv/bin/pip" install --quiet "torch==$WANTED" numpy==2.3.5
  python=$folder/venv/bin/python
fi
"$python" - <<'PY'
import sys
import torch

print("torch", torch.__version__, "cuDNN", torch.backends.cudnn.version(), torch.cuda.get_device_name())
torch.manual_seed(1)
q, k, v = (torch.randn(1, 2, 104, 64, device="cuda", dtype=torch.bfloat16) for _ in "qkv")
aten = torch.ops.aten
right = torch.logsumexp((q.float() @ k.float().transpose(-1, -2)) / 8, -1)
bias = torch.zeros(1, 2, 104, 104, device="cuda", dtype=torch.bfloat16)
bias[:, :, 7] = float("-inf")

def efficient(mask):
    return aten._scaled_dot_product_efficient_attention(q, k, v, mask, True, 0.0, False)

def cudnn(mask):
    return aten._scaled_dot_product_cudnn_attention(q, k, v, mask, True, 0.0, False, False)

lses = {
    "flash": aten._scaled_dot_product_flash_attention(q, k, v, 0.0, False, False)[1],
    "efficient": efficient(None)[1],
    "cuDNN": cudnn(None)[1],
}
for name, lse in lses.items():
    flat = lse.flatten(2)
    off = (flat[..., :104] - right).abs().max().item()
    print(f"{name:10} {list(lse.shape)}, largest error {off:.1g}, behind the last query {flat[0, 0, 104:107].tolist()}")
empty = {}
for name, run in (("efficient", efficient), ("cuDNN", cudnn)):
    out, lse = run(bias)[:2]
    empty[name] = lse.flatten(2)[0, 0, 7].item()
    print(f"{name:10} a row without keys: log-sum-exp {empty[name]}, output {out[0, 0, 7, :2].tolist()}")
ok = [list(lse.shape) for lse in lses.values()] == [[1, 2, 104], [1, 2, 128], [1, 2, 104, 1]]
ok = ok and bool((lses["efficient"][..., 104:] == float("inf")).all())
ok = ok and empty["cuDNN"] == float("-inf") and empty["efficient"] == 0
print("as described" if ok else "CHANGED")
sys.exit(0 if ok else 1)
PY
