#!/usr/bin/env bash
# jnp.histogram of bf16 counts to 256 and no further: any distribution looks flat.
#
# Versions: JAX 0.11.2, numpy 2.5.2, NVIDIA H200.
# Behaviour: counts are sums in the type of the data, one by one: they stop at 256 in bf16, at 2,048
# in f16 and at 16,777,216 in f32. numpy counts in int64.
# A good engineer would guess: a count is a whole number, whatever is counted.
# Output seen: 20,000 numbers between 0 and 1, squared, in four bins: bf16 256 256 256 256, f16 2048
# each, numpy 9933 4176 3268 2623; twenty million zeros in f32 count 16777216.
# Why it matters: histograms of activations, of attention scores and of router probabilities choose
# ranges and thresholds of quantization. In the type the model runs in each bin is as full as the
# next.
#
# Needs a GPU. Uses the python3 at hand if it has these versions; installs them in a temporary
# folder else.
set -euo pipefail
WANTED="0.11.2 2.5.2"
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python=python3
have=$(python3 -c '
from importlib.metadata import version
print(*(version(name).split("+")[0] for name in ("jax", "numpy")))' 2>/dev/null || true)
if [[ "$have" != "$WANTED" ]]; then
  python3 -m venv "$folder/venv"
  "$folder/venv/bin/pip" install --quiet "jax[cuda13]==0.11.2" numpy==2.5.2
  python=$folder/venv/bin/python
fi
export XLA_PYTHON_CLIENT_PREALLOCATE=false
cat >"$folder/check.py" <<'PY'
import sys
import jax
import jax.numpy as jnp
import numpy

print("jax", jax.__version__, "numpy", numpy.__version__)
numbers = numpy.random.default_rng(0).random(20000).astype(numpy.float32) ** 2
exact = numpy.histogram(numbers, 4, (0, 1))[0].tolist()
print("numpy:", exact)
found = {}
for dtype in (jnp.bfloat16, jnp.float16, jnp.float32):
    counts = jnp.histogram(jnp.asarray(numbers).astype(dtype), bins=4)[0]
    found[dtype.__name__] = [int(count) for count in counts]
    print(f"jax {dtype.__name__}: {found[dtype.__name__]}")
many = [int(count) for count in jnp.histogram(jnp.zeros(20_000_000), bins=2, range=(0, 1))[0]]
print("jax float32, twenty million zeros:", many)
ok = found["bfloat16"] == [256] * 4 and found["float16"] == [2048] * 4 and many == [1 << 24, 0]
ok = ok and sum(found["float32"]) == sum(exact) == 20000 and max(exact) > 3 * min(exact)
print("as described" if ok else "CHANGED")
sys.exit(0 if ok else 1)
PY
"$python" "$folder/check.py"
