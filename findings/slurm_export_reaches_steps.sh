#!/usr/bin/env bash
# sbatch --export reaches the steps inside of the job: srun drops what the script itself exported,
# PATH included.
#
# Versions: Debian 12's slurm-wlm 22.05.8 and munge 0.5.15; needs root. Starts a cluster of one node.
# Behaviour: sbatch --export=MODE=star gives the script a fresh environment with MODE, as documented.
# It also leaves SLURM_EXPORT_ENV=MODE=star in it, which each srun of the script reads as its own
# --export: the step sees MODE and neither PATH nor anything that the script exports. NONE does the
# same. ALL,MODE=star, srun --export=ALL or unset SLURM_EXPORT_ENV do not.
# A good engineer would guess: the option is about what sbatch hands to the script; what the script
# exports is seen by the programs that it starts, as without srun.
# Output seen: script "star 8", its step "star" and no 8, no PATH; with ALL,MODE=star both.
# Why it matters: --export=NONE is the advice for runs that shall repeat. OMP_NUM_THREADS,
# CUDA_VISIBLE_DEVICES and LD_LIBRARY_PATH set in the script do not reach the ranks: they run with
# other threads or libraries, or are not found at all.
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
cat >step.sh <<'END'
#!/bin/sh
path=$(/usr/bin/env | /bin/grep -c '^PATH=')
echo "step: ${MODE-no MODE}, ${THREADS-no THREADS}, ${PLACE-no PLACE}, PATH $path"
END
cat >job.sh <<'END'
#!/bin/sh
export THREADS=8 PLACE=here
echo "script: ${MODE-no MODE}, $THREADS, $PLACE, PATH $(env | grep -c '^PATH=')"
srun --quiet --ntasks=1 ./step.sh
END
cat >all.sh <<'END'
#!/bin/sh
export THREADS=8 PLACE=here
srun --quiet --ntasks=1 --export=ALL ./step.sh
unset SLURM_EXPORT_ENV
srun --quiet --ntasks=1 ./step.sh
END
chmod +x step.sh job.sh all.sh
for option in --export=ALL --export=NONE --export=MODE=star --export=ALL,MODE=star; do
  sbatch --quiet --wait --output=out "$option" job.sh
  sed "s/^/$option: /" out
done >seen
sbatch --quiet --wait --output=out --export=MODE=star all.sh
sed 's/^/srun --export=ALL, unset: /' out >>seen
cat seen
cat >expected <<'TEXT'
--export=ALL: script: no MODE, 8, here, PATH 1
--export=ALL: step: no MODE, 8, here, PATH 1
--export=NONE: script: no MODE, 8, here, PATH 1
--export=NONE: step: no MODE, no THREADS, no PLACE, PATH 0
--export=MODE=star: script: star, 8, here, PATH 1
--export=MODE=star: step: star, no THREADS, no PLACE, PATH 0
--export=ALL,MODE=star: script: star, 8, here, PATH 1
--export=ALL,MODE=star: step: star, 8, here, PATH 1
srun --export=ALL, unset: step: star, 8, here, PATH 1
srun --export=ALL, unset: step: star, 8, here, PATH 1
TEXT
cmp -s seen expected || { echo "Changed: what srun takes over from sbatch --export" >&2; exit 1; }
