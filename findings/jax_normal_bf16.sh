#!/usr/bin/env bash
# jax.random.normal in bf16 has 128 values, none above 2.52, and its truncated version is off zero.
#
# Versions: JAX 0.11.2.
# Behaviour: the bits of one bf16 mantissa (7) are drawn and turned into a normal number, so that each
# of 128 values has a chance of 1/128. The largest comes from 127/128: 2.5156, the smallest is
# -2.8906. f16 ends at 3.18. Drawing in f32 and converting gives thousands of values up to 4.5.
# A good engineer would guess: numbers are drawn well and rounded to the type at the end.
# Output seen: of 1,048,576 draws 128 different ones from -2.89 to 2.52; truncated to (-2, 2) the
# largest is 1.87 and the mean -0.016, eighteen standard errors from 0; drawn in f32 and converted
# 3,335 values and a mean of 0.0003.
# Why it matters: weights are initialised and noise is drawn with dtype=bfloat16. A bias of -0.016
# times the scale goes into every weight, and all large ones that the scale was chosen for are
# missing.
#
# Uses the python3 at hand if it has these versions; installs them in a temporary folder else.
set -euo pipefail
WANTED="0.11.2"
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python=python3
have=$(python3 -c '
import jax
print(jax.__version__.split("+")[0])' 2>/dev/null || true)
if [[ "$have" != "$WANTED" ]]; then
  python3 -m venv "$folder/venv"
  "$folder/venv/bin/pip" install --quiet "jax[cuda13]==0.11.2" numpy==2.3.5
  python=$folder/venv/bin/python
fi
cat >"$folder/check.py" <<'PY'
import sys
import jax
import jax.numpy as jnp
import numpy

print("jax", jax.__version__)
count = 1 << 20
key = jax.random.key(0)
ok = True
for name, draw in (("normal", lambda dtype: jax.random.normal(key, (count,), dtype)),
                   ("truncated", lambda dtype: jax.random.truncated_normal(key, -2, 2, (count,), dtype))):
    for kind, numbers in (("bf16", draw(jnp.bfloat16)), ("f16", draw(jnp.float16)),
                          ("f32 to bf16", draw(jnp.float32).astype(jnp.bfloat16))):
        values = numpy.asarray(numbers.astype(jnp.float32), numpy.float64)
        different, errors = len(numpy.unique(values)), values.mean() / (values.std() / count**0.5)
        print(f"{name} {kind}: {different} values from {values.min():.4f} to {values.max():.4f}, "
              f"mean {values.mean():.4f} ({errors:.0f} standard errors)")
        if kind == "bf16":
            ok = ok and different == 128 and values.max() < 2.6
            ok = ok and (name == "normal" or errors < -10)
        if kind == "f32 to bf16":
            ok = ok and different > 500 and abs(errors) < 4
print("as described" if ok else "CHANGED")
sys.exit(0 if ok else 1)
PY
"$python" "$folder/check.py"
