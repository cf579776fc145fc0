#!/usr/bin/env bash
# mpi4py's allreduce() of the lists [3, 1] and [2, 9] is [3, 1, 2, 9], and their maximum [3, 1].
#
# Versions: Debian's python3-mpi4py 3.1.4 and Open MPI 4.1.4, python3-numpy 1.24.2.
# Behaviour: the small letter methods apply Python's own + and > to the objects: lists are joined, and
# compared by their first elements. Arrays of numpy are added, and Allreduce() works on elements.
# A good engineer would guess: a reduction works on each element, as MPI's do and as it does for arrays.
# Output seen: sum [3, 1, 2, 9], maximum [3, 1]; of arrays 5 10 and, with Allreduce(), 3 9; texts are joined,
# True and False are 1.
# Why it matters: counts by task or by layer are lists. The sum grows with the number of ranks and its first
# elements are those of rank 0, which a table of the first columns shows as totals; the largest peak of
# memory by device is one rank's row.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
export DEBIAN_FRONTEND=noninteractive
installed() {
  local found
  found=$(dpkg-query -W -f='${Status} ${Version}' "$1" 2>/dev/null) || return 1
  [[ "$found" == "install ok installed "*"$2"* ]]
}
need() {
  get() { apt-get install -qq -y --no-install-recommends "$1" >/dev/null 2>&1; }
  installed "$@" || get "$1" || { apt-get update -qq && get "$1"; } || true
  installed "$@" || { echo "No $1 $2 here" >&2; exit 1; }
}
need python3-mpi4py 3.1.4
need openmpi-bin 4.1.4
need python3-numpy 1.24.2
cat >check.py <<'PY'
import numpy
from mpi4py import MPI

world = MPI.COMM_WORLD
counts = [[3, 1], [2, 9]][world.rank]
found = {
    "sum of lists": world.allreduce(counts),
    "maximum of lists": world.allreduce(counts, op=MPI.MAX),
    "sum of arrays": world.allreduce(numpy.array(counts)),
    "sum of texts": world.allreduce("ab"[world.rank]),
    "sum of truth values": world.allreduce(world.rank == 0),
}
largest = numpy.zeros(2, int)
world.Allreduce(numpy.array(counts), largest, op=MPI.MAX)
if world.rank == 0:
    for name, value in found.items():
        print(f"{name}: {value}")
    print(f"maximum of arrays by Allreduce: {largest}")
PY
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
mpirun.openmpi --oversubscribe -n 2 /usr/bin/python3 check.py >seen 2>/dev/null
cat seen
cat >expected <<'TEXT'
sum of lists: [3, 1, 2, 9]
maximum of lists: [3, 1]
sum of arrays: [ 5 10]
sum of texts: ab
sum of truth values: 1
maximum of arrays by Allreduce: [3 9]
TEXT
cmp -s seen expected || { echo "Changed: reductions of lists in mpi4py" >&2; exit 1; }
