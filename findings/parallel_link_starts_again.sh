#!/usr/bin/env bash
# parallel --link of three prompts and two seeds runs the third prompt with the first seed.
#
# Versions: Debian's parallel 20221122.
# Behaviour: the shorter list begins anew when it is at its end, without a message. The number of jobs is that
# of the longest list.
# A good engineer would guess: lists of unequal length are refused, or cut to the shorter as zip does.
# Output seen: 1 a, 2 b, 3 a; of five prompts and four references the fifth prompt gets the first reference;
# the exit code is 0.
# Why it matters: prompts and the references, ports or seeds of each are two files, one of which lost a line.
# The last answers are scored against the first references, or two servers get one port, and the job log
# shows success.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
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
need parallel 20221122+ds
export HOME="$work"
{
  parallel --will-cite --link -k echo ::: 1 2 3 ::: a b
  printf '%s\n' p1 p2 p3 p4 p5 >prompts
  printf '%s\n' r1 r2 r3 r4 >references
  parallel --will-cite --link -k echo :::: prompts references
  echo "code $?"
} >seen
cat seen
cat >expected <<'TEXT'
1 a
2 b
3 a
p1 r1
p2 r2
p3 r3
p4 r4
p5 r1
code 0
TEXT
cmp -s seen expected || { echo "Changed: lists of unequal length in GNU parallel" >&2; exit 1; }
