#!/usr/bin/env bash
# Past the end of flax's decode cache each new key takes the last place, without an error.
#
# Versions: flax 0.12.10, JAX 0.11.2, NVIDIA H200.
# Behaviour: attention with decode=True stores a step by dynamic_update_slice(), which moves a slice
# that does not fit back until it fits. The index goes on counting. The same function puts four
# numbers for places 8 to 11 of 10 into places 6 to 9, over two earlier ones; at[].set() drops what
# does not fit.
# A good engineer would guess: a cache of six keys raises at the seventh; or the new key is dropped.
# Output seen: a cache of 6: steps 0 to 5 differ from attention over all tokens by less than 0.001,
# steps 6 to 9 by 0.26 to 0.53, with cache_index 7 to 10; dynamic_update_slice of 1 2 3 4 at 8 of 10
# zeros gives 0 0 0 0 0 0 1 2 3 4.
# Why it matters: the length of the cache is fixed by the first call, and answers are as long as the
# model likes. From there on the newest token is all that changes, and text stays fluent.
#
# Needs a GPU. Uses the python3 at hand if it has these versions; installs them in a temporary
# folder else.
set -euo pipefail
WANTED="0.12.10 0.11.2"
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python=python3
have=$(python3 -c '
from importlib.metadata import version
print(*(version(name).split("+")[0] for name in ("flax", "jax")))' 2>/dev/null || true)
if [[ "$have" != "$WANTED" ]]; then
  python3 -m venv "$folder/venv"
  "$folder/venv/bin/pip" install --quiet flax==0.12.10 "jax[cuda13]==0.11.2"
  python=$folder/venv/bin/python
fi
export XLA_PYTHON_CLIENT_PREALLOCATE=false
cat >"$folder/check.py" <<'PY'
import sys
import flax
import flax.linen as nn
import jax
import jax.numpy as jnp

print("flax", flax.__version__, "jax", jax.__version__)
decoder = nn.MultiHeadDotProductAttention(num_heads=1, qkv_features=8, decode=True)
whole = nn.MultiHeadDotProductAttention(num_heads=1, qkv_features=8)
x = jax.random.normal(jax.random.key(0), (1, 10, 8))
variables = decoder.init(jax.random.key(1), x[:, :6])
params, cache = variables["params"], variables["cache"]
off = []
for step in range(10):
    out, new = decoder.apply({"params": params, "cache": cache}, x[:, step:step + 1], mutable=["cache"])
    cache = new["cache"]
    wanted = whole.apply({"params": params}, x[:, step:step + 1], x[:, :step + 1])
    off.append(float(jnp.abs(out - wanted).max()))
    print(f"step {step} of a cache of 6: off by {off[-1]:.4f}, cache_index {int(cache['cache_index'])}")
moved = jax.lax.dynamic_update_slice(jnp.zeros(10), jnp.arange(1.0, 5), (8,)).tolist()
dropped = jnp.zeros(10).at[jnp.arange(8, 12)].set(jnp.arange(1.0, 5)).tolist()
print("dynamic_update_slice of 1 2 3 4 at 8 of 10:", moved)
print("at[8, 9, 10, 11].set(1 2 3 4):", dropped)
ok = max(off[:6]) < 0.02 and min(off[6:]) > 0.05 and int(cache["cache_index"]) == 10
ok = ok and moved == [0] * 6 + [1, 2, 3, 4] and dropped == [0] * 8 + [1, 2]
print("as described" if ok else "CHANGED")
sys.exit(0 if ok else 1)
PY
"$python" "$folder/check.py"
