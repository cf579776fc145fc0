#!/usr/bin/env bash
# hwloc-distrib gives one of three ranks half of the machine, and the others a quarter each.
#
# Versions: Debian's hwloc-nox 2.9.0, on a synthetic machine of 2 packages with 4 cores each.
# Behaviour: shares are dealt level by level down the tree: of three, one goes to a package of its
# own and two share the other package.
# A good engineer would guess: eight cores over three ranks are 3, 3 and 2, as array_split, OpenMP
# and most launchers deal.
# Output seen: 3 shares have 2, 2, 4 cores; 5 shares have 1, 1, 2, 2, 2.
# Why it matters: ranks with equal work in lockstep wait for the slowest. Binding them with this
# tool makes all of them run at the pace of a rank with a quarter of the machine, 25% below a
# third.
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
need hwloc-nox 2.9.0
cores() {
  local mask
  for mask in $(hwloc-distrib --input "pack:2 core:4 pu:1" "$1" 2>/dev/null); do
    hwloc-calc --input "pack:2 core:4 pu:1" -N core "$mask" 2>/dev/null
  done | paste -sd ' '
}
for shares in 2 3 5 6; do echo "$shares shares: $(cores $shares)"; done >seen
cat seen
cat >expected <<'TEXT'
2 shares: 4 4
3 shares: 2 2 4
5 shares: 1 1 2 2 2
6 shares: 1 1 2 1 1 2
TEXT
cmp -s seen expected || { echo "Changed: how hwloc-distrib deals cores" >&2; exit 1; }
