#!/bin/sh
# A Slurm cluster of two nodes on this machine, without systemd or cgroups: two slurmd in network
# and UTS namespaces of their own, joined by a bridge. As root: slurm_cluster.sh claim|start|stop
# FOLDER ID, where an ID that was claimed (below 250) is no other cluster's; 75 says that it is one's.
#
# Needs slurm-wlm, munge, and libpmix-dev for the name under which Slurm looks for PMIx.
set -eu
action=$1
dir=$2
id=$3
net=10.213.$((id + 1))
bridge=sx${id}b

claim() {
  # Of two that try at once only one makes the device.
  ip link add "$bridge" type bridge 2>/dev/null && return
  ip link show "$bridge" >/dev/null && exit 75
}

start() {
  mkdir -p "$dir/state" "$dir/pmix" "$dir/spool-n1" "$dir/spool-n2"
  chmod 755 "$dir"
  ip addr add "$net.1/24" dev "$bridge"
  ip link set "$bridge" up
  for i in 1 2; do
    ip netns add "sx${id}n$i"
    ip link add "sx${id}v$i" type veth peer name eth0 netns "sx${id}n$i"
    ip link set "sx${id}v$i" master "$bridge" up
    ip -n "sx${id}n$i" addr add "$net.1$i/24" dev eth0
    ip -n "sx${id}n$i" link set lo up
    ip -n "sx${id}n$i" link set eth0 up
  done
  dd if=/dev/urandom of="$dir/munge.key" bs=1024 count=1 2>/dev/null
  chmod 400 "$dir/munge.key"
  munged --force --key-file="$dir/munge.key" --socket="$dir/munge.socket" \
    --pid-file="$dir/munged.pid" --log-file="$dir/munged.log" --seed-file="$dir/munge.seed"
  cat > "$dir/slurm.conf" <<END
ClusterName=starx
SlurmctldHost=$(hostname)($net.1)
SlurmctldPort=$((21000 + id))
SlurmdPort=$((31000 + id))
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket=$dir/munge.socket
StateSaveLocation=$dir/state
SlurmdSpoolDir=$dir/spool-%n
SlurmctldPidFile=$dir/slurmctld.pid
SlurmdPidFile=$dir/slurmd-%n.pid
SlurmctldLogFile=$dir/slurmctld.log
SlurmdLogFile=$dir/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=20
MessageTimeout=60
NodeName=n1 NodeAddr=$net.11 CPUs=4 State=UNKNOWN
NodeName=n2 NodeAddr=$net.12 CPUs=4 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES State=UP MaxTime=10
END
  echo "PMIxCliTmpDirBase=$dir/pmix" > "$dir/mpi.conf"
  export SLURM_CONF="$dir/slurm.conf"
  slurmctld -f "$SLURM_CONF"
  for i in 1 2; do
    # 'ip netns exec' would mount /sys anew, and slurmd would end.
    nsenter --net="/run/netns/sx${id}n$i" unshare --uts --mount sh -c \
      "hostname n$i && mount -t tmpfs tmpfs '$dir/pmix' && exec slurmd -N n$i -f '$SLURM_CONF'"
  done
  # As long as a busy machine may need.
  for _ in $(seq 600); do
    [ "$(timeout 60 sinfo -h -t idle -o %D)" = 2 ] && return
    sleep 0.1
  done
  echo "the nodes did not come up" >&2
  exit 1
}

stop() {
  export SLURM_CONF="$dir/slurm.conf"
  for i in 1 2; do ip link set "sx${id}v$i" up || true; done
  timeout 60 scancel --full --signal=KILL --user=root || true
  sleep 1
  for name in slurmd-n1 slurmd-n2 slurmctld munged; do
    [ -f "$dir/$name.pid" ] && kill "$(cat "$dir/$name.pid")" || true
  done
  for name in slurmd-n1 slurmd-n2 slurmctld munged; do
    for _ in $(seq 600); do
      # A daemon removes the file when it ends.
      [ -f "$dir/$name.pid" ] && kill -0 "$(cat "$dir/$name.pid")" 2>/dev/null || break
      sleep 0.1
    done
  done
  for i in 1 2; do
    # A namespace stays as long as a process in it does, its devices with it.
    ip link del "sx${id}v$i" || true
    ip netns del "sx${id}n$i" || true
  done
  ip link del "$bridge" || true
}

"$action"
