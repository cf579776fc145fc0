#!/usr/bin/env bash
# safetensors.numpy saves a transposed or strided array as other numbers in the same shape.
#
# Versions: safetensors 0.8.0, numpy 2.5.2.
# Behaviour: save_file() of safetensors.numpy writes the shape of the array and the bytes that lie
# behind its first element, without an error or a warning. Big-endian numbers are turned round, so
# that arrays are looked at. safetensors.torch refuses tensors that are not contiguous.
# A good engineer would guess: what is loaded equals what was saved, as with numpy.save(), or an
# error.
# Output seen: of a 2 x 3 array the transposed and every second column come back wrong, a copy of each
# right; numpy.save() right.
# Why it matters: weights of converted models are transposed by .T, keys are kept as [heads, tokens]
# views and shards are cut by steps. The file loads, all shapes are right, and the model talks
# nonsense.
#
# Uses the python3 at hand if it has these versions; installs them in a temporary folder else.
set -euo pipefail
WANTED="0.8.0 2.5.2"
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python=python3
have=$(python3 -c '
import safetensors, numpy
print(safetensors.__version__.split("+")[0], numpy.__version__.split("+")[0])' 2>/dev/null || true)
if [[ "$have" != "$WANTED" ]]; then
  python3 -m venv "$folder/venv"
  "$folder/venv/bin/pip" install --quiet safetensors==0.8.0 numpy==2.5.2
  python=$folder/venv/bin/python
fi
cat >"$folder/check.py" <<'PY'
import io
import sys
import tempfile
import numpy
import safetensors
from safetensors.numpy import load_file, save_file

print("safetensors", safetensors.__version__, "numpy", numpy.__version__)
array = numpy.arange(6, dtype=numpy.float32).reshape(2, 3)
cases = {
    "whole": array,
    "transposed": array.T,
    "every second column": array[:, ::2],
    "big-endian": array.astype(">f4"),
    "copy of the transposed": array.T.copy(),
}
right = {}
for name, value in cases.items():
    with tempfile.TemporaryDirectory() as folder:
        save_file({"a": value}, folder + "/a.safetensors")
        found = load_file(folder + "/a.safetensors")["a"]
    stream = io.BytesIO()
    numpy.save(stream, value)
    stream.seek(0)
    right[name] = bool(numpy.array_equal(found, value))
    print(f"{name}: {'right' if right[name] else 'WRONG'} {found.tolist()} of {value.tolist()}, "
          f"numpy.save {'right' if numpy.array_equal(numpy.load(stream), value) else 'WRONG'}")
ok = right["whole"] and right["copy of the transposed"] and right["big-endian"]
ok = ok and not right["transposed"] and not right["every second column"]
print("as described" if ok else "CHANGED")
sys.exit(0 if ok else 1)
PY
"$python" "$folder/check.py"
