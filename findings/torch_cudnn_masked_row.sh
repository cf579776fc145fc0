#!/usr/bin/env bash
# A query that may see no key gets zeros from PyTorch's attention, or values of masked keys from cuDNN.
#
# Versions: PyTorch 2.11.0 (CUDA 13.0) with cuDNN 9.19 on one NVIDIA H200; needs a GPU that cuDNN's
# attention runs on, and is not for CI.
# Behaviour: where a row of a boolean mask has no True, the math and the memory-efficient back ends give
# zeros; cuDNN gives numbers that are made of masked values. With the same mask as 0 and -inf cuDNN gives
# zeros, too.
# A good engineer would guess: all back ends agree that nothing is seen (zeros since 2.5, or NaN as
# before), and a boolean mask is the same as its numbers.
# Output seen: largest output of the empty row: math 0, memory-efficient 0, cuDNN 1.4 with a boolean
# mask and 0 with -inf.
# Why it matters: padded batches, and parts of a context that a query's window does not reach, have such
# rows. Which back end runs is PyTorch's choice by shape and GPU. Numbers that look right are merged
# with other ranks' parts, and padding leaks into answers on one machine only.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=python3
if [[ $(python3 -c 'import torch; print(torch.__version__.split("+")[0])' 2>/dev/null) != 2.11.0 ]]; then
  python3 -m venv "$work/venv"
  "$work/venv/bin/pip" install --quiet torch==2.11.0
  python=$work/venv/bin/python
fi
cat >"$work/check.py" <<'PY'
import sys
import warnings
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

warnings.simplefilter("ignore")
torch.manual_seed(0)
q, k, v = (torch.randn(1, 4, n, 64, device="cuda", dtype=torch.bfloat16) for n in (8, 40, 40))
seen = torch.ones(1, 1, 8, 40, dtype=torch.bool, device="cuda")
seen[..., 3, :] = False
numbers = torch.zeros_like(seen, dtype=torch.bfloat16).masked_fill(~seen, float("-inf"))
found = {}
for name in ("MATH", "EFFICIENT_ATTENTION", "CUDNN_ATTENTION"):
    for kind, mask in (("boolean", seen), ("-inf", numbers)):
        with sdpa_kernel(getattr(SDPBackend, name)):
            out = torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        found[name, kind] = out[:, :, 3].abs().max().item()
        print(f"{name}, {kind} mask: largest output of the empty row {found[name, kind]:.2g}")
odd = {key for key, largest in found.items() if largest != 0}
sys.exit(0 if odd == {("CUDNN_ATTENTION", "boolean")} else 1)
PY
"$python" "$work/check.py" || { echo "Changed: rows without a key in PyTorch's attention" >&2; exit 1; }
