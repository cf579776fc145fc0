#!/usr/bin/env bash
# gsub("^a"; "") of jq 1.6 removes every a of "aaab", as the rest of a text begins anew for it.
#
# Versions: Debian's jq 1.6.
# Behaviour: gsub() searches the rest behind a match as a text of its own, so that ^ and \A match again
# right behind a removed beginning. sub() removes one.
# A good engineer would guess: ^ is the beginning of the text, once, with g or without; sed s/^a//g makes
# aab of it.
# Output seen: "aaab" becomes "b", "007" without "^0" is "7", "1.1.2" without "^[0-9][.]" is "2"; sed gives
# "aab", "07" and "1.2".
# Why it matters: answers are brought into one form before they are compared: one mark of a list, one
# prompt sign or one leading digit is cut. gsub, the habit, takes more: needles with repeated digits lose
# more than one, and a nested quotation all its levels, so that right answers fail or wrong ones pass.
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
tried() {
  echo "$1 without $2: gsub $(jq -nr --arg t "$1" --arg p "$2" '$t | gsub($p; "")')," \
    "sub $(jq -nr --arg t "$1" --arg p "$2" '$t | sub($p; "")'), sed $(echo "$1" | sed -E "s/$2//g")"
}
{
  tried aaab '^a'
  tried 007 '^0'
  tried 1.1.2 '^[0-9][.]'
  tried '> > text' '^> '
  tried ba '^a'
} >seen
cat seen
cat >expected <<'TEXT'
aaab without ^a: gsub b, sub aab, sed aab
007 without ^0: gsub 7, sub 07, sed 07
1.1.2 without ^[0-9][.]: gsub 2, sub 1.2, sed 1.2
> > text without ^> : gsub text, sub > text, sed > text
ba without ^a: gsub ba, sub ba, sed ba
TEXT
cmp -s seen expected || { echo "Changed: gsub at the beginning of a text in jq" >&2; exit 1; }
