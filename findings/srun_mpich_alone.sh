#!/usr/bin/env bash
# srun starts an MPICH program of two ranks as two programs of one rank each, and so does --mpi=pmix;
# both exit with 0.
#
# Versions: Debian 12's slurm-wlm 22.05.8, munge 0.5.15, mpich and libmpich-dev 4.0.2, gcc; needs
# root. Starts a cluster of one node.
# Behaviour: MPICH finds its ranks by the PMI that it was built with. Without one it knows, MPI_Init()
# makes a world of its own. Slurm offers none unless told, and lists pmix, which Debian's MPICH does
# not speak. With --mpi=pmi2 there is one world.
# A good engineer would guess: srun is the launcher of MPI that its manual describes; a plugin that
# the program cannot use is an error.
# Output seen: 0 of 1 twice for srun, --mpi=none and --mpi=pmix; 0 of 2 and 1 of 2 for --mpi=pmi2.
# Why it matters: each "rank 0" computes the whole context and writes the results, over those of the
# other. The run is as slow as without the second process, and its numbers look right.
set -euo pipefail
export DEBIAN_FRONTEND=noninteractive
missing=
for program in slurmctld munged mpicc.mpich gcc; do command -v "$program" >/dev/null || missing=$program; done
if [[ -n "$missing" ]]; then
  apt-get update -qq
  apt-get install -qq -y --no-install-recommends slurm-wlm munge mpich libmpich-dev gcc libc6-dev >/dev/null
fi
work=$(mktemp -d)
chmod 755 "$work"
cleanup() {
  for name in slurmd slurmctld munged; do
    if [[ -s $work/$name.pid ]]; then kill "$(cat "$work/$name.pid")" || true; fi
  done
  sleep 1
  rm -rf "$work"
}
trap cleanup EXIT
dd if=/dev/urandom of="$work/munge.key" bs=1024 count=1 2>/dev/null
chmod 400 "$work/munge.key"
munged --force --key-file="$work/munge.key" --socket="$work/munge.socket" \
  --pid-file="$work/munged.pid" --log-file="$work/munged.log" --seed-file="$work/munge.seed"
mkdir "$work/state" "$work/spool"
port=$((20000 + RANDOM % 10000))
export SLURM_CONF=$work/slurm.conf
cat >"$SLURM_CONF" <<END
ClusterName=finding
SlurmctldHost=$(hostname)(127.0.0.1)
SlurmctldPort=$port
SlurmdPort=$((port + 1))
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket=$work/munge.socket
StateSaveLocation=$work/state
SlurmdSpoolDir=$work/spool
SlurmctldPidFile=$work/slurmctld.pid
SlurmdPidFile=$work/slurmd.pid
SlurmctldLogFile=$work/slurmctld.log
SlurmdLogFile=$work/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
ReturnToService=2
NodeName=n1 NodeHostname=$(hostname) NodeAddr=127.0.0.1 CPUs=4 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES State=UP MaxTime=10
END
slurmctld
slurmd -N n1
for _ in $(seq 100); do
  [[ $(sinfo -h -t idle -o %D) == 1 ]] && break
  sleep 0.1
done
cd "$work"
cat >world.c <<'C'
#include <mpi.h>
#include <stdio.h>

int main(int argc, char **argv) {
  int rank, size;
  MPI_Init(&argc, &argv);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  printf("%d of %d\n", rank, size);
  return MPI_Finalize();
}
C
mpicc.mpich world.c -o world
for option in '' --mpi=none --mpi=pmix --mpi=pmi2; do
  code=0
  srun --quiet --ntasks=2 ${option:+"$option"} ./world >ranks || code=$?
  echo "srun${option:+ $option}: $(sort ranks | paste -sd,), exit code $code"
done | tee "$work/seen"
cat >"$work/expected" <<'TEXT'
srun: 0 of 1,0 of 1, exit code 0
srun --mpi=none: 0 of 1,0 of 1, exit code 0
srun --mpi=pmix: 0 of 1,0 of 1, exit code 0
srun --mpi=pmi2: 0 of 2,1 of 2, exit code 0
TEXT
cmp -s "$work/seen" "$work/expected" || { echo "Changed: MPICH under srun" >&2; exit 1; }
