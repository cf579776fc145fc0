#!/usr/bin/env bash
# model.bfloat16() rounds the frequencies of the rotary embedding; dtype=bfloat16 at loading does not.
#
# Versions: transformers 5.17.0, PyTorch 2.11.0, on a CPU.
# Behaviour: the frequencies are a buffer of f32 that from_pretrained(dtype=...) makes anew.
# .bfloat16(), .half() and .to(torch.bfloat16) convert it with everything else, to 8 bits of digits.
# The angle of a position is the product of both, and is off by hundreds of radians at position
# 100,000. Weights are the same bits.
# A good engineer would guess: two ways to have a model in bf16 are one model, as for its weights;
# rotary code computes in f32 on purpose.
# Output seen: cosine at position 100,000 of the second frequency (base 500,000) -0.71 loaded and 0.96
# converted; its frequencies differ by up to 0.2 %.
# Why it matters: short prompts answer well, and retrieval fails with length. It reads as a limit of
# the model, or of the attention that is being compared.
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
import tempfile
import torch
import transformers
from transformers import LlamaConfig, LlamaForCausalLM

print("transformers", transformers.__version__, "torch", torch.__version__)
torch.manual_seed(0)
config = LlamaConfig(hidden_size=64, intermediate_size=64, num_hidden_layers=1, num_attention_heads=4,
                     num_key_value_heads=2, vocab_size=97, max_position_embeddings=131072, rope_theta=500_000.0)
with tempfile.TemporaryDirectory() as folder:
    LlamaForCausalLM(config).save_pretrained(folder)
    loaded = LlamaForCausalLM.from_pretrained(folder, dtype=torch.bfloat16)
    converted = LlamaForCausalLM.from_pretrained(folder).bfloat16()
weights = all(torch.equal(a, b) for a, b in zip(loaded.parameters(), converted.parameters()))
rotary = loaded.model.rotary_emb, converted.model.rotary_emb
position = torch.tensor([[100_000]])
cosine = [part(torch.zeros(1, 1, 64), position)[0][0, 0, 1].item() for part in rotary]
types = [str(part.inv_freq.dtype)[6:] for part in rotary]
exact, rounded = (part.inv_freq.double() for part in rotary)
worst = (rounded / exact - 1).abs().max().item()
print(f"equal weights: {weights}; frequencies in {types[0]} and {types[1]}, off by up to {100 * worst:.2f} %; "
      f"a cosine at 100,000: {cosine[0]:.2f} and {cosine[1]:.2f}")
ok = weights and types == ["float32", "bfloat16"] and cosine[0] < -0.6 and cosine[1] > 0.8
print("as described" if ok else "CHANGED")
sys.exit(0 if ok else 1)
PY
