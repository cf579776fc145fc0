#!/usr/bin/env bash
# config.rope_theta of a Llama configuration is stored, printed and saved in transformers 5, and
# without effect.
#
# Versions: transformers 5.17.0, PyTorch 2.11.0, on a CPU.
# Behaviour: as an argument of LlamaConfig() it goes into rope_parameters and counts. Set afterwards
# it is an attribute like any other: the model keeps the base of 10,000, and config.json gets both
# numbers. LlamaConfig.from_pretrained(folder, rope_theta=...) does the same. No warning comes.
# A good engineer would guess: the attribute that transformers 4 read is read, or setting it is an
# error, as it is for the argument of from_pretrained() of the model.
# Output seen, slowest frequency: 3.2e-04 by default, 1.0e-05 by the argument, 3.2e-04 by the
# attribute; config.json says rope_theta 500000 and rope_parameters.rope_theta 10000.
# Why it matters: recipes for longer contexts say config.rope_theta = .... The run is labelled with a
# base that it never had, and a reader of the file that takes the outer number computes another model.
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
import json
import pathlib
import sys
import tempfile
import torch
import transformers
from transformers import LlamaConfig, LlamaForCausalLM

print("transformers", transformers.__version__, "torch", torch.__version__)
sizes = dict(hidden_size=64, intermediate_size=64, num_hidden_layers=1, num_attention_heads=4,
             num_key_value_heads=2, vocab_size=97, max_position_embeddings=512)


def slowest(config):
    return f"{LlamaForCausalLM(config).model.rotary_emb.inv_freq[-1].item():.1e}"


late = LlamaConfig(**sizes)
late.rope_theta = 500_000.0
with tempfile.TemporaryDirectory() as folder:
    late.save_pretrained(folder)
    saved = json.loads((pathlib.Path(folder) / "config.json").read_text())
    loaded = LlamaConfig.from_pretrained(folder, rope_theta=1_000_000.0)
found = {
    "default": slowest(LlamaConfig(**sizes)),
    "argument": slowest(LlamaConfig(**sizes, rope_theta=500_000.0)),
    "attribute": slowest(late),
    "from_pretrained": slowest(loaded),
    "config.json": (saved["rope_theta"], saved["rope_parameters"]["rope_theta"]),
}
print(found)
expected = {"default": "3.2e-04", "argument": "1.0e-05", "attribute": "3.2e-04", "from_pretrained": "3.2e-04",
            "config.json": (500000.0, 10000.0)}
print("as described" if found == expected else "CHANGED")
sys.exit(0 if found == expected else 1)
PY
