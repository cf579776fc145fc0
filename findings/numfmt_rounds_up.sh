#!/usr/bin/env bash
# numfmt writes 1.1M for 1000001, and 129K for 131073: it rounds away from zero.
#
# Versions: Debian's coreutils 9.1.
# Behaviour: a number in units is rounded up at its last digit, however little is above; a negative one down.
# --round=nearest is an option.
# A good engineer would guess: 1000001 is 1.0M and 131073 128K, by rounding to the nearest as printf does.
# Output seen: 1000001 is 1.1M, 9000001 9.1M, 131073 129K, 1025 1.1K; with --round=nearest 1.0M, 9.0M, 128K,
# 1.0K.
# Why it matters: sizes, tokens and differences of memory go through it into tables. Counts are a tenth too
# large at worst, an exact 128K with one more token reads 129K, and a growth by one byte reads 0.1M.
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
for number in 1000000 1000001 9000001 -1000001; do
  echo "$number: $(numfmt --to=si -- "$number"), nearest $(numfmt --to=si --round=nearest -- "$number")"
done >seen
for number in 131072 131073 1025; do
  echo "$number: $(numfmt --to=iec "$number"), nearest $(numfmt --to=iec --round=nearest "$number")"
done >>seen
cat seen
cat >expected <<'TEXT'
1000000: 1.0M, nearest 1.0M
1000001: 1.1M, nearest 1.0M
9000001: 9.1M, nearest 9.0M
-1000001: -1.1M, nearest -1.0M
131072: 128K, nearest 128K
131073: 129K, nearest 128K
1025: 1.1K, nearest 1.0K
TEXT
cmp -s seen expected || { echo "Changed: how numfmt rounds" >&2; exit 1; }
