#!/usr/bin/env bash
# jq 1.6 removes every other match: (.[] | select(. >= 2)) |= empty makes [1, 3, 7] of [1, 5, 3, 0, 7].
#
# Versions: Debian's jq 1.6.
# Behaviour: an update by "empty" deletes the element while the places that match are walked through, so
# that the one behind a deleted element is passed over. del(), and map(select()), delete all.
# A good engineer would guess: an update that yields nothing deletes what it matched, as the manual of
# later versions has it, or is refused; not half of it.
# Output seen: 5 and 0 are gone and 3 and 7 are left, 0 being none that matched; del() gives [1, 0]. Of
# six failed samples in a row three are left.
# Why it matters: failed or overlong samples are taken out of a result file with one line. Some stay,
# others that were good go, the command succeeds, and the average is of a mixture.
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
need jq 1.6
{
  echo '[1,5,3,0,7]' | jq -c '(.[] | select(. >= 2)) |= empty'
  echo '[1,5,3,0,7]' | jq -c 'del(.[] | select(. >= 2))'
  echo '[1,5,3,0,7]' | jq -c 'map(select(. < 2))'
  failed='[range(6) | { id: ., ok: false }]'
  jq -nc "$failed | (.[] | select(.ok | not)) |= empty | map(.id)"
  jq -nc "$failed | del(.[] | select(.ok | not)) | map(.id)"
} >seen
cat seen
cat >expected <<'TEXT'
[1,3,7]
[1,0]
[1,0]
[1,3,5]
[]
TEXT
cmp -s seen expected || { echo "Changed: updates by empty in jq" >&2; exit 1; }
