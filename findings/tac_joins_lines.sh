#!/usr/bin/env bash
# tac joins the last two lines of a file that does not end with a line feed: "a b c" becomes "cb a".
#
# Versions: Debian's coreutils 9.1.
# Behaviour: a line is what ends with a line feed, and the pieces are written as they are: the last, without
# one, is written first and the next follows on the same line.
# A good engineer would guess: a missing line feed is added or put at the end, as sort and shuf do.
# Output seen: three lines without a last line feed come out as two, "cb" and "a"; of JSON lines the first
# is no JSON any more; with a last line feed all three come out.
# Why it matters: the newest results come first by tac, and the last record of a run that is being written
# or was stopped has no line feed yet. The two newest records are one broken line, or, as numbers, 35 and 42
# are 4235.
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
{
  printf 'a\nb\nc' | tac | xargs
  printf 'a\nb\nc\n' | tac | xargs
  printf '10\n35\n42' | tac | head -n 1
  printf '10\n35\n42' | sort -rn | head -n 1
  printf '{"i":1}\n{"i":2}' | tac | head -n 1
} >seen
cat seen
cat >expected <<'TEXT'
cb a
c b a
4235
42
{"i":2}{"i":1}
TEXT
cmp -s seen expected || { echo "Changed: a last line without a line feed in tac" >&2; exit 1; }
