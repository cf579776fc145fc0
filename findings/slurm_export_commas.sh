#!/usr/bin/env bash
# Slurm's --export cuts a value at its first comma, and with quotes around it the quotes become part of
# the value.
#
# Versions: Debian 12's slurm-wlm 22.05.8 and munge 0.5.15; needs root. Starts a cluster of one node.
# Behaviour: --export=ALL,LENGTHS=4096,8192 sets LENGTHS to 4096. The rest is taken for the name of a
# variable that does not exist, without a message. Quotes keep the value together and stay in it; a
# backslash stays, too, and does not help. What comes by ALL from the caller's environment is whole.
# A good engineer would guess: an item that is neither NAME=VALUE nor a variable is an error; quotes, as
# in other lists with commas, hold a value together and go.
# Output seen: 4096 for 4096,8192; '4096,8192' with its quotes; 4096\ with a backslash; from the
# environment 4096,8192; srun and sbatch alike.
# Why it matters: lists of lengths, tasks and GPUs (CUDA_VISIBLE_DEVICES=0,1) are written with commas.
# A benchmark over five lengths runs the first alone and ends well; each job sees one GPU of two.
set -euo pipefail
if ! command -v slurmctld munged >/dev/null; then
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends slurm-wlm munge >/dev/null
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
# shellcheck disable=SC2016
printf '#!/bin/sh\necho "$LENGTHS of $MODE"\n' >job.sh
chmod +x job.sh
say() {
  sbatch --quiet --wait --output=out "$1" job.sh
  echo "$2: srun $(srun --quiet --ntasks=1 "$1" ./job.sh), sbatch $(cat out)"
}
{
  say --export=ALL,LENGTHS=4096,8192,MODE=star 'a comma'
  say "--export=ALL,LENGTHS='4096,8192',MODE=star" 'in quotes'
  say '--export=ALL,LENGTHS=4096\,8192,MODE=star' 'with a backslash'
  export LENGTHS=4096,8192
  say --export=ALL,MODE=star 'from the environment'
} | tee "$work/seen"
cat >"$work/expected" <<'TEXT'
a comma: srun 4096 of star, sbatch 4096 of star
in quotes: srun '4096,8192' of star, sbatch '4096,8192' of star
with a backslash: srun 4096\ of star, sbatch 4096\ of star
from the environment: srun 4096,8192 of star, sbatch 4096,8192 of star
TEXT
cmp -s "$work/seen" "$work/expected" || { echo "Changed: commas in --export of Slurm" >&2; exit 1; }
