#!/usr/bin/env bash
# mpirun --tag-output (and mpiexec -l) put their tags into the middle of lines longer than a few
# KB.
#
# Versions: Debian's openmpi-bin 4.1.4 and mpich 4.0.2.
# Behaviour: a tag goes before each piece that the launcher reads from its pipe, and after each
# line feed. A record of one line of 100,000 characters gets one tag every few thousand characters,
# and a short line that is flushed in two parts gets two.
# A good engineer would guess: what is documented as a tag for each line is put at the beginnings
# of lines, so that `sed 's/^[^:]*://'` restores the output.
# Output seen: one line with more than one tag under both; a JSON record that no longer parses.
# Why it matters: runs over several nodes are started with tags to tell the ranks apart.
# Predictions of long contexts are JSON lines of this length: they are cut by tags that look like
# their content.
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
cat >record.sh <<'SH'
printf '{"pred": "%s"}\n' "$(head -c "$1" /dev/zero | tr '\0' 'x')"
SH
mpirun.openmpi --tag-output -n 1 bash record.sh 100000 >openmpi
mpiexec.hydra -l -n 1 bash record.sh 100000 >mpich
mpirun.openmpi --tag-output -n 1 bash record.sh 100 >short
{
  for name in openmpi mpich short; do
    tags=$(grep -oE '\[1,0\]<stdout>:|\[0\] ' "$name" | wc -l)
    [[ $tags -gt 1 ]] && count="several tags" || count="one tag"
    echo "$name: $(wc -l <"$name") line, $count"
  done
} >seen
cat seen
cat >expected <<'TEXT'
openmpi: 1 line, several tags
mpich: 1 line, several tags
short: 1 line, one tag
TEXT
cmp -s seen expected || { echo "Changed: where launchers put their tags" >&2; exit 1; }
