#!/usr/bin/env bash
# Equal elements of an array have unequal sums after an Allreduce of Open MPI, for some lengths only.
#
# Versions: Debian's openmpi-bin 4.1.4 with python3-mpi4py 3.1.4; its vector instructions for
# reductions are switched off (--mca op ^avx), so that all machines do the same.
# Behaviour: three ranks fill arrays with one number each. Up to some length each element is added in
# the same order; from there on a ring takes over, where each third of the array begins at another
# rank, and longer arrays go another way again. All ranks get the same array.
# A good engineer would guess: the order of ranks may differ between calls or implementations, but
# within one call all elements are added alike.
# Output seen: 1 and 1,000 floats: one sum; 2,000 and 10,000: two different ones in one array, a step
# apart; 1,000,000: one.
# Why it matters: partial attentions and logits of equal prompts are merged by such sums. Two equal
# sequences of a batch part ways, and whether they do changes with the length of the batch.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
export TMPDIR="$work"
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
need openmpi-bin 4.1.4
need python3-mpi4py 3.1.4
need python3-numpy 1.24.2
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
cat >check.py <<'PY'
import numpy
from mpi4py import MPI

world = MPI.COMM_WORLD
own = numpy.array([1, 2**-24, 2**-24], numpy.float32)[world.rank]
for count in (1, 1000, 2000, 10_000, 1_000_000):
    total = numpy.zeros(count, numpy.float32)
    world.Allreduce(numpy.full(count, own), total, MPI.SUM)
    same = all(numpy.array_equal(total, other) for other in world.allgather(total))
    if world.rank == 0:
        values = numpy.unique(total)
        print(f"{count} equal elements: {len(values)} different sums; ranks {'agree' if same else 'DIFFER'}")
PY
mpirun.openmpi --mca op ^avx --oversubscribe -n 3 /usr/bin/python3 check.py >seen
cat seen
cat >expected <<'TEXT'
1 equal elements: 1 different sums; ranks agree
1000 equal elements: 1 different sums; ranks agree
2000 equal elements: 2 different sums; ranks agree
10000 equal elements: 2 different sums; ranks agree
1000000 equal elements: 1 different sums; ranks agree
TEXT
cmp -s seen expected || { echo "Changed: how Open MPI adds equal elements" >&2; exit 1; }
