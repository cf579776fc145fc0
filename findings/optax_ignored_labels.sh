#!/usr/bin/env bash
# optax's loss of label -1 is that of the last class, and of label -100 NaN.
#
# Versions: optax 0.2.8, JAX 0.11.2.
# Behaviour: labels are indices as in numpy: -1 counts from the end, and what lies outside is filled
# with NaN. The loss over one-hot labels is 0 for both.
# A good engineer would guess: a label outside of the classes raises, or is ignored: -100 is
# PyTorch's mark for tokens that do not count, and -1 is common for padding.
# Output seen: logits log 0.7, log 0.2, log 0.1; labels 0, -1, -100: 0.357, 2.303 (-log 0.1), NaN;
# by one-hot labels 0.357, 0, 0.
# Why it matters: data prepared for another library brings such marks along. Padding of -1 adds the
# loss of the last token of the vocabulary, so that a perplexity is finite, plausible and wrong.
#
# Uses the python3 at hand if it has these versions; installs them in a temporary folder else.
set -euo pipefail
WANTED="0.2.8 0.11.2"
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python=python3
have=$(python3 -c '
from importlib.metadata import version
print(*(version(name).split("+")[0] for name in ("optax", "jax")))' 2>/dev/null || true)
if [[ "$have" != "$WANTED" ]]; then
  python3 -m venv "$folder/venv"
  "$folder/venv/bin/pip" install --quiet optax==0.2.8 jax==0.11.2
  python=$folder/venv/bin/python
fi
export XLA_PYTHON_CLIENT_PREALLOCATE=false
cat >"$folder/check.py" <<'PY'
import sys
import jax
import jax.numpy as jnp
import optax

print("optax", optax.__version__, "jax", jax.__version__)
logits = jnp.log(jnp.array([[0.7, 0.2, 0.1]] * 3))
labels = jnp.array([0, -1, -100])
loss = optax.softmax_cross_entropy_with_integer_labels(logits, labels).tolist()
one_hot = optax.softmax_cross_entropy(logits, jax.nn.one_hot(labels, 3)).tolist()
print("labels 0, -1, -100:", loss)
print("as one-hot labels:", one_hot)
ok = abs(loss[0] - 0.3567) < 1e-3 and abs(loss[1] - 2.3026) < 1e-3 and loss[2] != loss[2]
ok = ok and abs(one_hot[0] - 0.3567) < 1e-3 and one_hot[1] == one_hot[2] == 0
print("as described" if ok else "CHANGED")
sys.exit(0 if ok else 1)
PY
"$python" "$folder/check.py"
