#!/usr/bin/env bash
# sort -h puts 2048K before 1M and 9000M before 2G: letters come before numbers.
#
# Versions: Debian's coreutils 9.1.
# Behaviour: sizes are compared by their letter first, then by their number. A size with a larger letter is
# larger, whatever stands before it, and a number without a letter is below all.
# A good engineer would guess: a sort of sizes goes by what they are worth.
# Output seen: 2048K, 1M, 9000M, 2G and, without letters, 131072 before 64K; numfmt and sort -n have them
# right.
# Why it matters: du and ls write one form each and are sorted rightly, but lengths of contexts (64K, 131072,
# 1M) and memory of runs (9000M, 12G) are written by people and by several tools. The longest and the
# largest, taken by tail, are others.
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
need coreutils 9.1
export LC_ALL=C
sizes=(1M 2048K 2G 9000M 131072 64K)
{
  echo "sort -h: $(printf '%s\n' "${sizes[@]}" | sort -h | xargs)"
  echo "by worth: $(printf '%s\n' "${sizes[@]}" | numfmt --from=iec | sort -n | xargs)"
  echo "largest of 9000M and 2G: $(printf '%s\n' 9000M 2G | sort -h | tail -n 1)"
} >seen
cat seen
cat >expected <<'TEXT'
sort -h: 131072 64K 2048K 1M 9000M 2G
by worth: 65536 131072 1048576 2097152 2147483648 9437184000
largest of 9000M and 2G: 2G
TEXT
cmp -s seen expected || { echo "Changed: how sort -h compares sizes" >&2; exit 1; }
