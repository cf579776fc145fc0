#!/usr/bin/env bash
# nproc does not tell how many processors there are: it repeats OMP_NUM_THREADS, in both directions.
#
# Versions: Debian's coreutils 9.1.
# Behaviour: nproc without options prints OMP_NUM_THREADS if that is set, the first number of a list, at
# most OMP_THREAD_LIMIT; the variable can also make it larger than the machine. Only --all looks at the
# machine, and then not at the processors that the process may use.
# A good engineer would guess: nproc prints the processors that the process may run on, which taskset and
# cgroups lower, and a variable of OpenMP is for OpenMP.
# Output seen: OMP_NUM_THREADS=1 gives 1, 999 gives 999, 3,2 gives 3; bound to one processor and set to
# 999 it still gives 999.
# Why it matters: torchrun sets OMP_NUM_THREADS to 1 for its workers, and job scripts set it by rank.
# "--threads $(nproc)" and "make -j$(nproc)" in such a job then take one processor of 64, and a tokenizer
# pool is as small; or a script that exports 64 on the login node starts 64 threads on 8 processors.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
[[ $(nproc --version) == *"coreutils) 9.1"* ]] || { echo "No coreutils 9.1 here" >&2; exit 1; }
unset OMP_NUM_THREADS OMP_THREAD_LIMIT
all=$(nproc --all)
first=$(taskset -cp $$ | sed 's/.*: *//; s/[-,].*//')
number() { if [[ $1 == "$all" ]]; then echo "all"; else echo "$1"; fi; }
{
  echo "OMP_NUM_THREADS=1: $(OMP_NUM_THREADS=1 nproc)"
  echo "OMP_NUM_THREADS=999: $(OMP_NUM_THREADS=999 nproc)"
  echo "OMP_NUM_THREADS=3,2: $(OMP_NUM_THREADS=3,2 nproc)"
  echo "OMP_NUM_THREADS=999, OMP_THREAD_LIMIT=5: $(OMP_NUM_THREADS=999 OMP_THREAD_LIMIT=5 nproc)"
  echo "bound to one: $(taskset -c "$first" nproc)"
  echo "bound to one, OMP_NUM_THREADS=999: $(OMP_NUM_THREADS=999 taskset -c "$first" nproc)"
  echo "bound to one, --all: $(number "$(OMP_NUM_THREADS=999 taskset -c "$first" nproc --all)")"
} >seen
cat seen
cat >expected <<'TEXT'
OMP_NUM_THREADS=1: 1
OMP_NUM_THREADS=999: 999
OMP_NUM_THREADS=3,2: 3
OMP_NUM_THREADS=999, OMP_THREAD_LIMIT=5: 5
bound to one: 1
bound to one, OMP_NUM_THREADS=999: 999
bound to one, --all: all
TEXT
cmp -s seen expected || { echo "Changed: what nproc counts" >&2; exit 1; }
