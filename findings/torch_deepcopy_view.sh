#!/usr/bin/env bash
# In PyTorch copy.deepcopy() of 512 bytes of a 256 MiB cache allocates 256 MiB.
#
# Versions: PyTorch 2.11.0 (CUDA 13.0), NVIDIA H200.
# Behaviour: a slice shares the storage of its tensor, and deepcopy(), pickle and torch.save() copy
# storages, not slices; several slices in one list share one copy. clone() copies what is seen.
# A good engineer would guess: a deep copy holds what it shows: 128 numbers.
# Output seen: deepcopy of a row's first 128 floats allocates 268435456 bytes, clone 512; torch.save
# of 128 floats of a 16 MiB tensor writes 16778793 bytes.
# Why it matters: snapshots of a state are made by deepcopy(), and a prefix or a last row is handed
# to another process by pickle. Each one costs the whole cache, in memory, in time and on the disk.
#
# Needs a GPU. Uses the python3 at hand if it has these versions; installs them in a temporary
# folder else.
set -euo pipefail
WANTED="2.11.0"
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python=python3
have=$(python3 -c '
from importlib.metadata import version
print(*(version(name).split("+")[0] for name in ("torch",)))' 2>/dev/null || true)
if [[ "$have" != "$WANTED" ]]; then
  python3 -m venv "$folder/venv"
  "$folder/venv/bin/pip" install --quiet torch==2.11.0
  python=$folder/venv/bin/python
fi
cat >"$folder/check.py" <<'PY'
import copy
import io
import sys
import torch

print("torch", torch.__version__, torch.cuda.get_device_name())
cache = torch.zeros(1024, 65536, device="cuda")
row = cache[0, :128]


def allocated(call):
    before = torch.cuda.memory_allocated()
    kept = call()
    return torch.cuda.memory_allocated() - before, kept.numel()


def saved(tensor):
    file = io.BytesIO()
    torch.save(tensor, file)
    return file.getbuffer().nbytes


deep, clone = allocated(lambda: copy.deepcopy(row)), allocated(row.clone)
print(f"deepcopy of {row.numel()} floats allocates {deep[0]} bytes for {deep[1]} floats, clone {clone[0]}")
small = torch.zeros(64, 65536)[0, :128]
files = saved(small), saved(small.clone())
print(f"torch.save of {small.numel()} floats: {files[0]} bytes, of their clone {files[1]}")
ok = deep == (1 << 28, 128) and clone[0] <= 1 << 20 and files[0] > 1 << 24 and files[1] < 1 << 16
print("as described" if ok else "CHANGED")
sys.exit(0 if ok else 1)
PY
"$python" "$folder/check.py"
