#!/usr/bin/env bash
# A transformers model with dynamic rotary scaling answers a prompt otherwise after a longer one.
#
# Versions: transformers 5.17.0, PyTorch 2.11.0, on a CPU.
# Behaviour: "dynamic" stretches the frequencies by the length of the input, and keeps the largest
# stretch in the model: prompts between the trained length and the longest so far get it too, until a
# prompt within the trained length comes by. A prompt read in parts with a cache mixes the stretches
# of its parts. linear and yarn depend on neither.
# A good engineer would guess: a forward call depends on its input and on the weights, and a prompt in
# parts with a cache gives the logits of the whole.
# Output seen, largest change of a logit of 100 tokens: 2.7e-03 after 200 others, 0 after 10 more, of
# logits up to 0.4 (random weights); of a prompt in three parts 1.0e-03; yarn 0 and 6e-08.
# Why it matters: scores of a benchmark over several lengths depend on the order of its samples and on
# the size of prefill chunks, and no single sample repeats alone.
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
from transformers import DynamicCache, LlamaConfig, LlamaForCausalLM

print("transformers", transformers.__version__, "torch", torch.__version__)
ids = torch.randint(0, 97, (1, 200), generator=torch.Generator().manual_seed(1))


def changes(scaling):
    """Of logits: after a longer prompt, after a short one, and read in three parts."""
    def model():
        torch.manual_seed(0)
        return LlamaForCausalLM(LlamaConfig(
            hidden_size=64, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, vocab_size=97, max_position_embeddings=64,
            rope_parameters={"rope_theta": 10_000.0, **scaling})).eval()

    with torch.no_grad():
        one = model()
        first = one(ids[:, :100]).logits
        whole = one(ids).logits[:, -1]
        longer = (one(ids[:, :100]).logits - first).abs().max().item()
        one(ids[:, :10])
        short = (one(ids[:, :100]).logits - first).abs().max().item()
        parts, cache = model(), DynamicCache()
        for part in ids.split((50, 70, 80), 1):
            last = parts(part, past_key_values=cache).logits[:, -1]
        return longer, short, (last - whole).abs().max().item()


dynamic = changes({"rope_type": "dynamic", "factor": 4.0})
yarn = changes({"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64})
for name, found in (("dynamic", dynamic), ("yarn", yarn)):
    print(f"{name}: after a longer prompt {found[0]:.1e}, after a short one {found[1]:.1e}, in parts {found[2]:.1e}")
ok = dynamic[0] > 1e-3 and dynamic[1] == 0 and dynamic[2] > 3e-4
ok = ok and yarn[0] == yarn[1] == 0 and yarn[2] < 1e-6
print("as described" if ok else "CHANGED")
sys.exit(0 if ok else 1)
PY
