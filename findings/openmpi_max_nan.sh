#!/usr/bin/env bash
# MPI_MAX with a NaN: whether it is seen depends on the rank that has it, and on the element's
# place.
#
# Versions: Debian's openmpi-bin 4.1.4 with python3-mpi4py 3.1.4; its vector instructions for
# reductions are switched off (--mca op ^avx), so that all machines do the same.
# Behaviour: a reduction keeps one operand if a comparison says so and the other one if not, and
# comparisons with NaN say no. For one number rank 0's NaN wins and rank 1's vanishes. For arrays
# of 1,000 the ranks' order differs between the halves, so that equal elements come out different.
# With three ranks, 1 and 2 and NaN give a maximum of 2, and 1 and NaN and 3 one of 3.
# A good engineer would guess: NaN is propagated (numpy.maximum) or ignored (fmax), the same for
# all ranks and all elements.
# Output seen: one number: nan from rank 0, 1.0 from rank 1; 1,000 equal numbers: both 2.0 and nan.
# Why it matters: parts of an attention are merged by the maximum of their log-sum-exps, and "is
# any value NaN" is asked by such a reduction. A broken rank is noticed or not by its number.
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
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
cat >check.py <<'PY'
import numpy
from mpi4py import MPI
world = MPI.COMM_WORLD
for count in (1, 1000):
    for broken in range(world.size):
        own = numpy.full(count, numpy.nan if world.rank == broken else world.rank + 1.0)
        largest = numpy.zeros(count)
        world.Allreduce(own, largest, MPI.MAX)
        if world.rank == 0 and (count == 1 or world.size == 2):
            head = f"{world.size} ranks, {count} x NaN on rank {broken}:"
            print(head, *sorted(set(map(str, largest))))
PY
run() { mpirun.openmpi --mca op ^avx --oversubscribe -n "$1" /usr/bin/python3 check.py; }
{ run 2; run 3; } >seen
cat seen
cat >expected <<'TEXT'
2 ranks, 1 x NaN on rank 0: nan
2 ranks, 1 x NaN on rank 1: 1.0
2 ranks, 1000 x NaN on rank 0: 2.0 nan
2 ranks, 1000 x NaN on rank 1: 1.0 nan
3 ranks, 1 x NaN on rank 0: nan
3 ranks, 1 x NaN on rank 1: 3.0
3 ranks, 1 x NaN on rank 2: 2.0
TEXT
cmp -s seen expected || { echo "Changed: NaN in MPI_MAX of Open MPI" >&2; exit 1; }
