#!/usr/bin/env bash
# gsl-histogram 0 100 leaves the scores of 100 out: a value at the upper end is in no bin.
#
# Versions: Debian's gsl-bin 2.7.1.
# Behaviour: every bin holds its lower end and not its upper one, the last bin too. A value at the end of
# the range is treated as one outside and dropped, without a count or a message.
# A good engineer would guess: as in numpy, matplotlib and d3, the last bin is closed, so that a range
# from the least to the largest value holds them all.
# Output seen: of 0, 50, 100, 100 between 0 and 100 only 0 and 50 are counted; between 0 and 101, all.
# Why it matters: scores end at 1 or 100, and that is the value of the samples that went well. The
# histogram of a model that is nearly always right shows its failures only, and an all right run is empty.
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
need gsl-bin 2.7.1+dfsg
counted() {
  printf '%s\n' "${@:4}" | gsl-histogram "$1" "$2" "$3" | awk '{ sum += $3 } END { print sum }'
}
{
  echo "0 50 100 100 between 0 and 100: $(counted 0 100 4 0 50 100 100)"
  echo "0 50 100 100 between 0 and 101: $(counted 0 101 4 0 50 100 100)"
  echo "1 1 1 0.5 between 0 and 1: $(counted 0 1 10 1 1 1 0.5)"
  echo "1 1 1 between 0 and 1: $(counted 0 1 10 1 1 1)"
} >seen
cat seen
cat >expected <<'TEXT'
0 50 100 100 between 0 and 100: 2
0 50 100 100 between 0 and 101: 4
1 1 1 0.5 between 0 and 1: 1
1 1 1 between 0 and 1: 0
TEXT
cmp -s seen expected || { echo "Changed: values at the end of gsl-histogram's range" >&2; exit 1; }
