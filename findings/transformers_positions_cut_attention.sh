#!/usr/bin/env bash
# In transformers, position ids that jump cut the attention there, but only with use_cache=False and
# without a mask.
#
# Versions: transformers 5.17.0, PyTorch 2.11.0, on a CPU.
# Behaviour: where neighbouring position ids differ by other than 1, the model takes the tokens for
# another packed sequence, and they see nothing before them. It looks only if there is neither an
# attention mask nor a cache; a mask of ones, or the cache that is made unless asked not to, switches
# it off. Positions of step 2 leave each token alone with itself.
# A good engineer would guess: position ids choose rotary angles; a mask of ones is what no mask
# means; use_cache decides about speed. Output seen, largest change of the last logits of 64 tokens
# (logits to 0.5): with 0..31 and 1000..1031 0.2 without mask and cache, 0 with either; changing the
# first token then has no effect at all.
# Why it matters: methods for long contexts reuse or stretch positions (Star Attention's anchors,
# position interpolation by steps). Measured by perplexity without a cache they are another model than
# generated.
#
# Uses the python3 at hand if it has these versions; installs them in a temporary folder else.
set -euo pipefail
WANTED="5.17.0 2.11.0"
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python=python3
have=$(python3 -c '
import transformers, torch
print(transformers.__version__.split("+")[0], torch.__version__.split("+")[0])' 2>/dev/null || true)
if [[ "$have" != "$WANTED" ]]; then
  python3 -m venv "$folder/venv"
  "$folder/venv/bin/pip" install --quiet transformers==5.17.0 torch==2.11.0 numpy==2.3.5
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
    hidden_size=64, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
    num_key_value_heads=2, vocab_size=97, max_position_embeddings=4096)).eval()
ids = torch.randint(0, 97, (1, 64), generator=torch.Generator().manual_seed(1))
other = ids.clone()
other[0, 0] = (other[0, 0] + 1) % 97
ones = torch.ones_like(ids)
count = torch.arange(64)
cases = {
    "0..63": count,
    "0..31, 1000..1031": torch.where(count < 32, count, count + 968),
    "0..31 twice": count % 32,
    "steps of 2": count * 2,
}


def last(tokens, positions, **options):
    with torch.no_grad():
        return model(tokens, position_ids=positions[None], **options).logits[:, -1]


def change(a, b):
    return (a - b).abs().max().item()


ok = True
for name, positions in cases.items():
    usual = last(ids, positions)
    bare = last(ids, positions, use_cache=False)
    masked = last(ids, positions, use_cache=False, attention_mask=ones)
    seen = change(bare, last(other, positions, use_cache=False)), change(usual, last(other, positions))
    print(f"{name}: without cache {change(bare, usual):.1e}, and a mask of ones {change(masked, usual):.1e}; "
          f"another first token {seen[0]:.1e}, with cache {seen[1]:.1e}")
    ok = ok and change(masked, usual) < 1e-5 and seen[1] > 1e-6
    ok = ok and (change(bare, usual) < 1e-5 if name == "0..63" else change(bare, usual) > 1e-2 and seen[0] == 0)
print("as described" if ok else "CHANGED")
sys.exit(0 if ok else 1)
PY
"$python" "$folder/check.py"
