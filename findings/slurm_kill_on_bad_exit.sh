#!/usr/bin/env bash
# srun --kill-on-bad-exit gives the exit code of the ranks that it ends, not of the one that failed.
#
# Versions: Debian 12's slurm-wlm 22.05.8 and munge 0.5.15; needs root. Starts a cluster of one node.
# Behaviour: srun's exit code is the largest of all tasks. The option ends the others by SIGTERM, and
# their 143 is above every code of a program's own and above 137, SIGKILL.
# A good engineer would guess: the code of the task that failed first, the reason why all were ended.
# Output seen: one of two tasks exits with 5: srun exits with 5, with the option with 143. One is ended
# by SIGKILL: 137, with the option 143.
# Why it matters: the option is what keeps the other ranks from waiting for a lost one. But a script
# that asks why a run ended ("usage error", "rank lost", "out of memory") reads "terminated" each time,
# as if somebody had cancelled the job, and runs it again.
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
# As a shell tells it; the other task waits, or ends by itself where nobody ends it.
code_of() {
  local status=0
  srun --quiet --ntasks=2 "${@:2}" sh -c "[ \$SLURM_PROCID = 1 ] && $1; sleep 2" 2>/dev/null || status=$?
  echo "$status"
}
{
  echo "exit 5: $(code_of 'exit 5'), with the option $(code_of 'exit 5' --kill-on-bad-exit=1)"
  echo "SIGKILL: $(code_of 'kill -9 $$'), with the option $(code_of 'kill -9 $$' --kill-on-bad-exit=1)"
} | tee "$work/seen"
cat >"$work/expected" <<'TEXT'
exit 5: 5, with the option 143
SIGKILL: 137, with the option 143
TEXT
cmp -s "$work/seen" "$work/expected" || { echo "Changed: exit codes of srun" >&2; exit 1; }
