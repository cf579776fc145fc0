#!/usr/bin/env bash
# MPICH's mpiexec returns the bitwise OR of all exit codes: ranks that end with 1 and 2 give 3.
#
# Versions: Debian's mpich 4.0.2.
# Behaviour: Hydra combines the codes of all ranks bit by bit, so that the result is often a code
# that no rank had.
# A good engineer would guess: the launcher's code is that of some rank that failed: the first one,
# rank 0's, or the largest.
# Output seen: codes 1 and 2 give 3, codes 3 and 4 give 7, codes 130 and 5 give 135.
# Why it matters: runtimes have a table of exit codes, and job scripts decide by it whether to
# retry, to ask for another node or to mend the command line. One rank's "bug" (1) and another's
# "usage" (2) read "file not found" (3), and codes above 128 look like signals that nobody sent.
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
  local name=$1 seen=0
  shift
  mpiexec.hydra -n $# bash -c 'codes=("$@"); exit "${codes[$PMI_RANK]}"' "$name" "$@" \
    >/dev/null 2>&1 || seen=$?
  echo "$name: $* gives $seen"
}
{
  ends bug-usage 1 2
  ends file-device 3 4
  ends interrupted-lost 130 5
  ends one-failed 0 4 0
} >seen
cat seen
cat >expected <<'TEXT'
bug-usage: 1 2 gives 3
file-device: 3 4 gives 7
interrupted-lost: 130 5 gives 135
one-failed: 0 4 0 gives 4
TEXT
cmp -s seen expected || { echo "Changed: how mpiexec of MPICH combines exit codes" >&2; exit 1; }
