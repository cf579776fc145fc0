#!/usr/bin/env bash
# A rank killed by a signal makes MPICH's mpiexec return the bare signal number, not 128 plus it.
#
# Versions: Debian's mpich 4.0.2.
# Behaviour: SIGINT gives 2, SIGHUP 1 and SIGTERM 15, the codes of a program that ended by itself
# with 2, 1 or 15.
# A good engineer would guess: 130 for SIGINT and 143 for SIGTERM, as shells and Open MPI's mpirun
# report them.
# Output seen: INT 2, HUP 1, TERM 15, KILL 9, SEGV 11.
# Why it matters: a schedule that kills a long run (SIGTERM at the time limit) must be told apart
# from a failure, as it is resumed. With these codes an interrupted run reads as a usage error (2)
# and is not resumed.
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
ends() {
  local seen=0
  mpiexec.hydra -n 1 bash -c 'kill "-$0" $$; exec sleep 60' "$1" >/dev/null 2>&1 || seen=$?
  echo "$1 gives $seen"
}
for signal in INT HUP TERM KILL SEGV; do ends $signal; done >seen
cat seen
cat >expected <<'TEXT'
INT gives 2
HUP gives 1
TERM gives 15
KILL gives 9
SEGV gives 11
TEXT
cmp -s seen expected || {
  echo "Changed: what mpiexec of MPICH returns after a signal" >&2
  exit 1
}
