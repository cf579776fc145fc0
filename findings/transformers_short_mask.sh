#!/usr/bin/env bash
# An attention mask for the new chunk alone hides that chunk in transformers, without an error.
#
# Versions: transformers 5.17.0, PyTorch 2.11.0, on a CPU.
# Behaviour: with a cache, attention_mask is for all tokens so far. One that is shorter is filled up
# with zeros at the end: the ones of a chunk's own mask are taken for the first tokens of the cache,
# and the chunk's tokens see those and neither each other nor themselves. A mask that is too short for
# a prompt is filled up as well; one that is too long is cut.
# A good engineer would guess: a mask of another length raises, as ids and positions of other lengths
# do.
# Output seen: a prompt of 20 in two chunks: the last logits (to 3.9) off by 4.6 with the chunk's
# mask, 0 with the whole one or none; changing the token before the last has no effect then.
# Why it matters: prefill in chunks hands over slices of ids, and of the mask beside them. The answer
# is fluent and about the first chunk; with chunks of different sizes, about a part of it.
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
from transformers import DynamicCache, LlamaConfig, LlamaForCausalLM

print("transformers", transformers.__version__, "torch", torch.__version__)
ids = torch.randint(0, 97, (1, 20), generator=torch.Generator().manual_seed(1))
other = ids.clone()
other[0, 18] = (other[0, 18] + 1) % 97


def ones(length):
    return torch.ones(1, length, dtype=torch.long)


ok = True
for attention in ("eager", "sdpa"):
    torch.manual_seed(0)
    model = LlamaForCausalLM(LlamaConfig(
        hidden_size=64, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, vocab_size=97, initializer_range=0.2, attn_implementation=attention)).eval()

    def last(tokens, mask):
        """The last logits of a prompt in two chunks, the second with this mask."""
        with torch.no_grad():
            cache = DynamicCache()
            model(tokens[:, :10], past_key_values=cache)
            return model(tokens[:, 10:], past_key_values=cache, attention_mask=mask).logits[0, -1]

    with torch.no_grad():
        whole = model(ids).logits[0, -1]
        short = model(ids, attention_mask=ones(10)).logits[0, -1]
    off = {name: (last(ids, mask) - whole).abs().max().item()
           for name, mask in (("none", None), ("whole", ones(20)), ("chunk's", ones(10)), ("longer", ones(30)))}
    off["10 ones for 20 at once"] = (short - whole).abs().max().item()
    seen = [(last(other, mask) - last(ids, mask)).abs().max().item() for mask in (ones(20), ones(10))]
    print(f"{attention}: largest logit {whole.abs().max().item():.1f}, off by mask:",
          ", ".join(f"{name} {value:.1e}" for name, value in off.items()))
    print(f"{attention}: another token before the last: whole mask {seen[0]:.1e}, chunk's {seen[1]:.1e}")
    ok = ok and off["none"] < 1e-4 and off["whole"] < 1e-4 and off["longer"] < 1e-4
    ok = ok and off["chunk's"] > 0.5 and off["10 ones for 20 at once"] > 0.5 and seen[0] > 1e-2 and seen[1] == 0
print("as described" if ok else "CHANGED")
sys.exit(0 if ok else 1)
PY
"$python" "$folder/check.py"
