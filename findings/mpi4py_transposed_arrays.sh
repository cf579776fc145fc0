#!/usr/bin/env bash
# mpi4py sends a transposed array in the order of its memory: another rank gets other numbers in the
# same shape, without an error.
#
# Versions: Debian's openmpi-bin 4.1.4, python3-mpi4py 3.1.4 and python3-numpy 1.24.2.
# Behaviour: a buffer is accepted if it is contiguous in either of numpy's orders, and then it is
# bytes. Bcast and Allreduce mix up elements where one side has x.T and the other a fresh array of its
# shape; a slice with a step is refused. The methods in lower case pickle, and keep the order.
# A good engineer would guess: what is not in C order is refused, as the slice is, or sent in the
# order of its indices.
# Output seen: rank 0's rows 0 3, 1 4, 2 5 arrive as 0 1, 2 3, 4 5; the sum of two equal arrays has 2
# where 6 belongs; the slice raises BufferError.
# Why it matters: keys are kept transposed, and numpy.linalg and scipy give results in Fortran's
# order. Shapes and sums over everything are right, so that only the answers of a model tell.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
export TMPDIR="$work"
export DEBIAN_FRONTEND=noninteractive
installed() {
  local found
  found=$(dpkg-query -W -f='${Status} ${Version}' "$1" 2>/dev/null) || return 1
  [[ "$found" == "install ok installed "*"$2-"* ]]
}
need() {
  get() { apt-get install -qq -y --no-install-recommends "$1" >/dev/null 2>&1; }
  installed "$@" || get "$1" || { apt-get update -qq && get "$1"; } || true
  installed "$@" || { echo "No $1 $2 here" >&2; exit 1; }
}
need openmpi-bin 4.1.4
need python3-mpi4py 3.1.4
need python3-numpy 1:1.24.2
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
cat >check.py <<'PY'
import numpy
from mpi4py import MPI

world = MPI.COMM_WORLD
keys = numpy.arange(6.0).reshape(2, 3).T


def show(name, own):
    for rank, rows in enumerate(world.gather(own.tolist()) or ()):
        print(f"{name}, rank {rank}:", ", ".join(" ".join(f"{x:.0f}" for x in row) for row in rows))


received = keys if world.rank == 0 else numpy.zeros((3, 2))
world.Bcast(received)
show("Bcast", received)
total = numpy.zeros((3, 2))
world.Allreduce(keys, total)
show("Allreduce", total)
show("bcast", world.bcast(keys if world.rank == 0 else None))
received = numpy.ascontiguousarray(keys) if world.rank == 0 else numpy.zeros((3, 2))
world.Bcast(received)
show("Bcast in C order", received)
try:
    world.Bcast(numpy.zeros(6)[::2])
except BufferError as error:
    if world.rank == 0:
        print("a slice with a step:", type(error).__name__)
PY
mpirun.openmpi --oversubscribe -n 2 /usr/bin/python3 check.py >seen
cat seen
cat >expected <<'TEXT'
Bcast, rank 0: 0 3, 1 4, 2 5
Bcast, rank 1: 0 1, 2 3, 4 5
Allreduce, rank 0: 0 2, 4 6, 8 10
Allreduce, rank 1: 0 2, 4 6, 8 10
bcast, rank 0: 0 3, 1 4, 2 5
bcast, rank 1: 0 3, 1 4, 2 5
Bcast in C order, rank 0: 0 3, 1 4, 2 5
Bcast in C order, rank 1: 0 3, 1 4, 2 5
a slice with a step: BufferError
TEXT
cmp -s seen expected || { echo "Changed: transposed arrays in mpi4py" >&2; exit 1; }
