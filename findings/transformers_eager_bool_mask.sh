#!/usr/bin/env bash
# A boolean attention mask of four dimensions is right with transformers' sdpa and silently wrong with
# its eager attention.
#
# Versions: transformers 5.17.0, PyTorch 2.11.0, on a CPU.
# Behaviour: a causal mask [1, 1, 30, 30] of True and False is handed to a Llama model, once with each
# implementation. sdpa hides what is False. Eager adds the mask to the scores as 0 and 1 and shows every
# later token, without an error or a warning. A mask of 0 and the smallest number is right in both.
# A good engineer would guess: both hide what is False, or the one that cannot refuses it.
# Output seen, largest difference of a logit to the model without a mask: sdpa 0 and 0, eager 0.47 with
# the boolean mask and 1.8e-07 with the added one.
# Why it matters: masks of blocks, anchors and selected tiles are written as booleans. Who switches to
# eager to look at attention weights, or for a reference in float32, compares with a model that sees
# the future.
#
# Uses the python3 at hand if it has these versions; installs them in a temporary folder else.
set -euo pipefail
WANTED="5.17.0 2.11.0"
python=python3
have=$(python3 -c 'import torch, transformers; print(transformers.__version__, torch.__version__.split("+")[0])' 2>/dev/null || true)
if [[ "$have" != "$WANTED" ]]; then
  folder=$(mktemp -d)
  trap 'rm -rf "$folder"' EXIT
  python3 -m venv "$folder/venv"
  "$folder/venv/bin/pip" install --quiet transformers==5.17.0 torch==2.11.0 numpy==2.3.5
  python=$folder/venv/bin/python
fi
"$python" - <<'PY'
import sys
import torch
import transformers
from transformers import LlamaConfig, LlamaForCausalLM

print("transformers", transformers.__version__, "torch", torch.__version__)
torch.manual_seed(0)
config = LlamaConfig(hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
                     num_key_value_heads=2, vocab_size=128, max_position_embeddings=512)
model = LlamaForCausalLM(config).eval()
ids = torch.randint(3, 128, (1, 30))
sees = torch.ones(1, 1, 30, 30, dtype=torch.bool).tril()
added = torch.zeros(1, 1, 30, 30).masked_fill(~sees, torch.finfo(torch.float32).min)
errors = {}
with torch.no_grad():
    plain = model(ids).logits
    for implementation in ("sdpa", "eager"):
        model.set_attn_implementation(implementation)
        for kind, mask in (("boolean", sees), ("added", added)):
            off = (model(ids, attention_mask=mask).logits - plain).abs().max().item()
            errors[implementation, kind] = off
            print(f"{implementation:6} {kind:8} largest difference of a logit {off:.2g}")
ok = errors["eager", "boolean"] > 0.1 and all(
    off < 1e-5 for key, off in errors.items() if key != ("eager", "boolean"))
print("as described" if ok else "CHANGED")
sys.exit(0 if ok else 1)
PY
