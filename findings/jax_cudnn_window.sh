#!/usr/bin/env bash
# With a window of keys to the left only, JAX's cuDNN attention sees the future; its own
# implementation does not.
#
# Versions: JAX 0.11.2 (cuDNN 9.19), NVIDIA H200.
# Behaviour: jax.nn.dot_product_attention(local_window_size=(1, 0)) lets a query see its own key and
# one before it. implementation="xla" does so. "cudnn" keeps the bound to the left and forgets the one
# to the right: every later key counts. With is_causal=True as well both agree.
# A good engineer would guess: an implementation that cannot do a bound refuses it, or both give the
# same.
# Output seen, with values 0 1 2 3 and equal scores: xla 0 0.5 1.5 2.5, cudnn 1.5 1.5 2 2.5.
# Why it matters: sliding windows of Mistral, Gemma and gpt-oss are written this way, and "cudnn" is
# the fast choice on a GPU. Logits of a prompt are those of a model that has read the answer.
#
# Needs a GPU. Uses the python3 at hand if it has this JAX; installs it in a temporary folder else.
set -euo pipefail
WANTED=0.11.2
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python=python3
if [[ "$(python3 -c 'import jax; print(jax.__version__)' 2>/dev/null)" != "$WANTED" ]]; then
  python3 -m venv "$folder/venv"
  "$folder/venv/bin/pip" install --quiet "jax[cuda13]==$WANTED" numpy==2.3.5
  python=$folder/venv/bin/python
fi
export XLA_PYTHON_CLIENT_PREALLOCATE=false
cat > "$folder/window.py" <<'PY'
import sys
import jax
import jax.numpy as jnp

print("jax", jax.__version__, jax.devices()[0].device_kind)
query = key = jnp.ones((1, 4, 1, 64), jnp.bfloat16)
value = jnp.arange(4, dtype=jnp.bfloat16).reshape(1, 4, 1, 1) * key
found = {}
for implementation in ("xla", "cudnn"):
    for causal in (False, True):
        out = jax.nn.dot_product_attention(query, key, value, local_window_size=(1, 0), is_causal=causal,
                                           implementation=implementation)
        found[implementation, causal] = " ".join(f"{x:g}" for x in out[0, :, 0, 0].tolist())
        print(f"{implementation}, is_causal={causal}: {found[implementation, causal]}")
right = "0 0.5 1.5 2.5"
ok = found["xla", False] == found["xla", True] == found["cudnn", True] == right
ok = ok and found["cudnn", False] == "1.5 1.5 2 2.5"
print("as described" if ok else "CHANGED")
sys.exit(0 if ok else 1)
PY
"$python" "$folder/window.py"
