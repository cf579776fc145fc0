#!/usr/bin/env bash
# Open MPI's mpirun takes a lone ":" among the program's own arguments for itself, and what follows it
# for another program.
#
# Versions: Debian's openmpi-bin 4.1.4.
# Behaviour: a ":" separates programs wherever it stands, quoted or not and also behind "--". At the end
# it vanishes without a message, and the run succeeds. What follows it is started as a program of its
# own, beside the first one, or read as an option of mpirun.
# A good engineer would guess: what comes after the program's name is the program's, as with env, nice,
# srun and ssh.
# Output seen: --stop ":" arrives as --stop alone, with code 0; --stop ":" --length 4096 is code 1
# without a run; --stop ":" -n 1 PROGRAM starts two ranks. ": " with a blank, "::" and --stop=: arrive.
# Why it matters: ":" is a plausible stop word, label or joiner, which few-shot prompts ("Answer:") ask
# for. The option then has no value or takes the next one, in runs over several ranks only, and the
# same command line without mpirun is right.
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
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
cat >program <<'SH'
#!/bin/sh
echo "rank $OMPI_COMM_WORLD_RANK of $OMPI_COMM_WORLD_SIZE has $# arguments:" "$@"
SH
chmod +x program
run() {
  local status=0
  mpirun.openmpi --oversubscribe -n 1 "$@" 2>/dev/null | sort || status=$?
  echo "code $status"
}
{
  run ./program --stop ':'
  run -- ./program --stop ':'
  run ./program --stop ':' --length 4096
  run ./program --stop ':' -n 1 ./program
  run ./program --stop ': ' --joiner '::' --stop=:
} >seen
cat seen
cat >expected <<'TEXT'
rank 0 of 1 has 1 arguments: --stop
code 0
rank 0 of 1 has 1 arguments: --stop
code 0
code 1
rank 0 of 2 has 1 arguments: --stop
rank 1 of 2 has 0 arguments:
code 0
rank 0 of 1 has 5 arguments: --stop :  --joiner :: --stop=:
code 0
TEXT
cmp -s seen expected || { echo "Changed: a colon among arguments under mpirun" >&2; exit 1; }
