#!/usr/bin/env bash
# torch.manual_seed() and jax.random.key() take 64 bits and use 32 of them: seeds 7 and 7 + 2**32 are
# one.
#
# Versions: PyTorch 2.11.0 (CUDA 13.0), JAX 0.11.2, NVIDIA H200.
# Behaviour: PyTorch's generator on a CPU is seeded by the low half; its generator on a GPU takes all
# 64 bits. JAX keeps 32 bits unless jax_enable_x64 is set. Neither says so. PyTorch's randn() on a CPU
# has two rules as well: from 16 numbers on it fills the sequence otherwise, so that randn(15) and
# randn(16) share no number, and the last 16 of a length that is no multiple of 16 are drawn again.
# A good engineer would guess: different seeds are different streams, on both devices or on neither,
# and shorter draws are the beginning of longer ones, as rand() keeps it.
# Output seen: CPU 7 and 7 + 2**32 the same, GPU different, JAX the same; the second numbers of
# randn(15), (16) and (17) are three different ones, of rand() one.
# Why it matters: seeds from hashes or from (experiment << 32) + sample collapse: every experiment
# draws the same samples, and an error bar over them is too narrow.
#
# Needs a GPU. Uses the python3 at hand if it has these versions; installs them in a temporary folder
# else.
set -euo pipefail
WANTED="2.11.0 0.11.2"
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python=python3
have=$(python3 -c '
import torch, jax
print(torch.__version__.split("+")[0], jax.__version__.split("+")[0])' 2>/dev/null || true)
if [[ "$have" != "$WANTED" ]]; then
  python3 -m venv "$folder/venv"
  "$folder/venv/bin/pip" install --quiet torch==2.11.0 "jax[cuda13]==0.11.2" numpy==2.3.5
  python=$folder/venv/bin/python
fi
cat >"$folder/check.py" <<'PY'
import sys
import jax
import torch

print("torch", torch.__version__, "jax", jax.__version__)


def draw(device, seed, count=3, kind=torch.rand):
    return kind(count, generator=torch.Generator(device).manual_seed(seed), device=device)[:3].tolist()


def key(seed):
    return jax.random.uniform(jax.random.key(seed), (3,)).tolist()


same = {
    "torch on a CPU": draw("cpu", 7) == draw("cpu", 7 + 2**32),
    "torch on a GPU": draw("cuda", 7) == draw("cuda", 7 + 2**32),
    "jax": key(7) == key(7 + 2**32),
    "7 and 8": draw("cpu", 7) == draw("cpu", 8) or key(7) == key(8),
}
for name, value in same.items():
    print(f"{name}: {'the same' if value else 'different'}")
starts = {}
for kind in (torch.rand, torch.randn):
    for device in ("cpu", "cuda"):
        starts[kind, device] = [draw(device, 1, count, kind) for count in (15, 16, 17, 1000)]
        second = (f"{start[1]:.4f}" for start in starts[kind, device])
        print(kind.__name__, device, "second of 15, 16, 17, 1000:", *second)
ok = list(same.values()) == [True, False, True, False]
different = {name: len(set(map(tuple, start))) for name, start in starts.items()}
ok = ok and different[torch.rand, "cpu"] == different[torch.rand, "cuda"] == 1 == different[torch.randn, "cuda"]
ok = ok and different[torch.randn, "cpu"] >= 3
print("as described" if ok else "CHANGED")
sys.exit(0 if ok else 1)
PY
"$python" "$folder/check.py"
