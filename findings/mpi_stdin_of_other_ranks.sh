#!/usr/bin/env bash
# Ranks above 0 read end-of-file from Open MPI's mpirun, and nothing at all, ever, from MPICH's.
#
# Versions: Debian's mpich 4.0.2 and openmpi-bin 4.1.4.
# Behaviour: both give the launcher's input to rank 0 alone. The others have /dev/null's behaviour
# in Open MPI; in MPICH they have a pipe that stays open and silent, even if the launcher's own
# input is /dev/null. A read that waits at most two seconds ends there by its time limit.
# A good engineer would guess: a rank without input has an input that is at its end.
# Output seen: rank 1 reads "end" under Open MPI and "silence" under MPICH; rank 0 reads the line.
# Why it matters: a program that reads prompts from its input "if there are any", or that ends when
# its input ends, as workers do, is right under one launcher and waits for ever under the other.
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
need mpich 4.0.2
need openmpi-bin 4.1.4
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
cat >rank.sh <<'SH'
rank=${OMPI_COMM_WORLD_RANK:-$PMI_RANK} status=0
read -r -t 2 line || status=$?
case $status in
  0) echo "rank $rank: line $line" ;;
  1) echo "rank $rank: end" ;;
  *) echo "rank $rank: silence" ;;
esac
SH
echo "MPICH" >seen
echo "prompt" | mpiexec.hydra -n 2 bash rank.sh | sort >>seen
mpiexec.hydra -n 2 bash rank.sh </dev/null | sort >>seen
echo "Open MPI" >>seen
echo "prompt" | mpirun.openmpi --oversubscribe -n 2 bash rank.sh | sort >>seen
mpirun.openmpi --oversubscribe -n 2 bash rank.sh </dev/null | sort >>seen
cat seen
cat >expected <<'TEXT'
MPICH
rank 0: line prompt
rank 1: silence
rank 0: end
rank 1: silence
Open MPI
rank 0: line prompt
rank 1: end
rank 0: end
rank 1: end
TEXT
cmp -s seen expected || { echo "Changed: the input of ranks above 0" >&2; exit 1; }
