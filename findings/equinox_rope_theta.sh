#!/usr/bin/env bash
# In Equinox a rotary embedding has the base (theta) of the first one of its size in the process.
#
# Versions: Equinox 0.13.8, JAX 0.11.2.
# Behaviour: angles are kept in a dictionary of the module by size of a head and type, without
# theta. A second embedding of another theta is given the first one's angles, until a longer
# sequence makes new ones.
# A good engineer would guess: an embedding has the theta that it was made with, whatever was made
# before.
# Output seen: theta 10000 first, then 500000: the second returns what the first returned, to the
# last bit, off by 2.6; of another size 500000 is right when it comes first, and 10000 is wrong
# then.
# Why it matters: a target and its draft, or a model before and after its base was raised for longer
# contexts, share the size of a head. The second one fails with length, and alone in a process it is
# right.
#
# Uses the python3 at hand if it has these versions; installs them in a temporary folder else.
set -euo pipefail
WANTED="0.13.8 0.11.2 2.5.2"
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python=python3
have=$(python3 -c '
from importlib.metadata import version
print(*(version(name).split("+")[0] for name in ("equinox", "jax", "numpy")))' 2>/dev/null || true)
if [[ "$have" != "$WANTED" ]]; then
  python3 -m venv "$folder/venv"
  "$folder/venv/bin/pip" install --quiet equinox==0.13.8 jax==0.11.2 numpy==2.5.2
  python=$folder/venv/bin/python
fi
export XLA_PYTHON_CLIENT_PREALLOCATE=false
cat >"$folder/check.py" <<'PY'
import sys
import equinox
import jax
import jax.numpy as jnp
import numpy

print("equinox", equinox.__version__, "jax", jax.__version__)


def last(theta, size):
    """The last row of 2,000 rows of ones, rotated."""
    return numpy.asarray(equinox.nn.RotaryPositionalEmbedding(size, theta=theta)(jnp.ones((2000, size))))[-1]


def exact(theta, size):
    angles = 1999 / theta ** (numpy.arange(0, size, 2) / size)
    return numpy.cos(angles) - numpy.sin(angles)


off = {}
for size, thetas in ((64, (1e4, 5e5)), (32, (5e5, 1e4))):
    rows = []
    for order, theta in enumerate(thetas):
        rows.append(last(theta, size))
        off[size, order] = float(numpy.abs(rows[-1][:size // 2] - exact(theta, size)).max())
        print(f"size {size}, number {order + 1}, theta {theta:.0f}: off by {off[size, order]:.4f}")
    off[size, "equal"] = bool((rows[0] == rows[1]).all())
    print(f"size {size}: both the same: {off[size, 'equal']}")
ok = all(off[size, 0] < 0.01 and off[size, 1] > 0.3 and off[size, "equal"] for size in (64, 32))
print("as described" if ok else "CHANGED")
sys.exit(0 if ok else 1)
PY
"$python" "$folder/check.py"
