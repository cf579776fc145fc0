#!/usr/bin/env bash
# nproc counts what OpenMP's variables say, not the processors.
#
# Versions: GNU coreutils 9.1, as Debian 12 has it.
# Behaviour: OMP_NUM_THREADS is the answer if it is set, even above the number of processors; of a
# list (one number per level of nested loops) it is the first. OMP_THREAD_LIMIT caps it. --all ignores
# both.
# A good engineer would guess: the processors of this process, as sched_getaffinity() and Python say.
# Output seen: OMP_NUM_THREADS=1000 gives 1000, 3,2 gives 3, OMP_THREAD_LIMIT=1 gives 1, and Python's
# count is the same each time.
# Why it matters: launchers export OMP_NUM_THREADS=1 to each rank, and scripts size pools, ranks per
# node and make -j by nproc: one thread on a node of 128, or 1,000 ranks on it.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
nproc --version | grep -q '(GNU coreutils) 9\.1$' || { echo "No coreutils 9.1 here" >&2; exit 1; }
unset OMP_NUM_THREADS OMP_THREAD_LIMIT
real=$(python3 -c 'import os; print(len(os.sched_getaffinity(0)))')
[[ $(nproc) == "$real" ]] && echo "without variables: as sched_getaffinity()" >seen
say() {
  local python
  python=$(env "$1" python3 -c 'import os; print(len(os.sched_getaffinity(0)))')
  echo "$1: nproc $(env "$1" nproc), Python $([[ "$python" == "$real" ]] && echo as before)" >>seen
}
say OMP_NUM_THREADS=1000
say OMP_NUM_THREADS=3,2
say OMP_THREAD_LIMIT=1
[[ $(OMP_NUM_THREADS=1000 nproc --all) != 1000 ]] && echo "--all: not from the variable" >>seen
cat seen
cat >expected <<'TEXT'
without variables: as sched_getaffinity()
OMP_NUM_THREADS=1000: nproc 1000, Python as before
OMP_NUM_THREADS=3,2: nproc 3, Python as before
OMP_THREAD_LIMIT=1: nproc 1, Python as before
--all: not from the variable
TEXT
cmp -s seen expected || { echo "Changed: what nproc makes of OpenMP's variables" >&2; exit 1; }
