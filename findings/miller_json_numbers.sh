#!/usr/bin/env bash
# Miller writes .5, 5. and 0xff into JSON as they are, which is no JSON.
#
# Versions: Debian's miller 6.6.0 and jq 1.6, and node.
# Behaviour: a field that reads as a number keeps its digits as given, and is written without quotes, in
# forms too that JSON does not have.
# A good engineer would guess: a converter to JSON writes JSON: 0.5 and 255, or texts.
# Output seen: score .5 and id 0xff come out bare; JSON.parse refuses .5, 5. and 0xff, jq reads .5 and 5. and
# refuses 0xff; 0.5 is fine.
# Why it matters: bc and Fortran write .5. The file of results converts without an error
# and is looked at with jq, and breaks in the program that draws it, at the first score below 1 or id with
# 0x.
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
need miller 6.6.0
need jq 1.6
by_node='try { console.log(JSON.parse(process.argv[1])[0].v) } catch { console.log("refused") }'
for field in 0.5 .5 5. 0xff; do
  json=$(printf 'v\n%s\n' "$field" | mlr --icsv --ojson cat)
  jq=$(echo "$json" | jq '.[0].v' 2>/dev/null) || jq=refused
  echo "$field: written $(echo "$json" | sed -n 's/.*"v": //p'), node $(node -e "$by_node" "$json"), jq $jq"
done >seen
cat seen
cat >expected <<'TEXT'
0.5: written 0.5, node 0.5, jq 0.5
.5: written .5, node refused, jq 0.5
5.: written 5., node refused, jq 5
0xff: written 0xff, node refused, jq refused
TEXT
cmp -s seen expected || { echo "Changed: numbers in Miller's JSON" >&2; exit 1; }
