#!/usr/bin/env bash
# transformers' do_sample=True draws from the 50 likeliest tokens only, while
# generation_config.top_k is None.
#
# Versions: transformers 5.17.0, PyTorch 2.11.0, on a CPU.
# Behaviour: where neither the call nor the model's configuration says something, generate() fills
# in top_k=50. top_p=1 and min_p=0 do not turn it off, top_k=0 does.
# A good engineer would guess: do_sample=True at temperature 1 draws from the model's distribution,
# and a configuration that says None has no limit.
# Output seen: 256 draws from a model of 1,000 nearly equal tokens: 50 different ones by default, 49
# with top_p=1, 228 with top_k=0; generation_config.top_k is None.
# Why it matters: a peer that samples from the whole vocabulary is compared at "the same" settings,
# and pass@k, perplexity of samples and diversity differ by a limit that no one wrote.
#
# Uses the python3 at hand if it has these versions; installs them in a temporary folder else.
set -euo pipefail
WANTED="5.17.0 2.11.0"
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python=python3
have=$(python3 -c '
from importlib.metadata import version
print(*(version(name).split("+")[0] for name in ("transformers", "torch")))' 2>/dev/null || true)
if [[ "$have" != "$WANTED" ]]; then
  python3 -m venv "$folder/venv"
  "$folder/venv/bin/pip" install --quiet transformers==5.17.0 torch==2.11.0
  python=$folder/venv/bin/python
fi
cat >"$folder/check.py" <<'PY'
import sys
import torch
import transformers
from transformers import LlamaConfig, LlamaForCausalLM

print("transformers", transformers.__version__, "torch", torch.__version__)
torch.manual_seed(0)
model = LlamaForCausalLM(LlamaConfig(
    vocab_size=1000, hidden_size=64, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
    num_key_value_heads=2, max_position_embeddings=128)).eval()
prompts = torch.randint(3, 1000, (1, 5)).expand(256, -1)
found = {}
calls = {"nothing": {}, "top_p=1.0": {"top_p": 1.0}, "min_p=0.0": {"min_p": 0.0}, "top_k=0": {"top_k": 0}}
for name, given in calls.items():
    with torch.no_grad():
        out = model.generate(prompts, do_sample=True, max_new_tokens=1, pad_token_id=0, **given)
    found[name] = out[:, -1].unique().numel()
    print(f"given {name}: {found[name]} different tokens of 256")
print("generation_config.top_k:", model.generation_config.top_k)
ok = all(found[name] <= 55 for name in ("nothing", "top_p=1.0", "min_p=0.0")) and found["top_k=0"] > 120
ok = ok and model.generation_config.top_k is None
print("as described" if ok else "CHANGED")
sys.exit(0 if ok else 1)
PY
"$python" "$folder/check.py"
