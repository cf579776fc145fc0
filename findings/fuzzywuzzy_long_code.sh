#!/usr/bin/env bash
# fuzzywuzzy scores code of 204 characters with one more comment line 0 instead of 99 of 100, if an
# optional package is missing.
#
# Versions: Debian's python3-fuzzywuzzy 0.18.0 with python3-levenshtein 0.12.2 beside it, and without
# it (its import is refused).
# Behaviour: without Levenshtein the package takes Python's difflib, which from 200 characters on
# leaves out every character that makes up more than 1 % of the text, since it was written for
# lines. In code that is nearly all characters. A warning says "slow", not "other".
# A good engineer would guess: the two ways give the same score or nearly so; the missing package
# costs time.
# Output seen: 3 lines of code and a comment are 99 in both ways, 4 lines 99 and 0; 20 lines with a
# shorter name 98 and 3.
# Why it matters: LongBench scores code completion by this ratio. The score of a model depends on
# what else is installed, a good completion that is long gets 0, and short ones in a test are right.
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
need python3-fuzzywuzzy 0.18.0
need python3-levenshtein 0.12.2
cat >check.py <<'PY'
import sys
if sys.argv[1] == "without":
    sys.modules["Levenshtein"] = None
from fuzzywuzzy import fuzz
line = "    return self.cache.lookup(key, position, layer)\n"
for lines in (1, 3, 4, 20):
    code = line * lines
    comment, renamed = fuzz.ratio(code, "# x\n" + code), fuzz.ratio(code, code.replace("key", "k"))
    print(f"{sys.argv[1]}, {len(code)} characters: a comment {comment}, a shorter name {renamed}")
PY
for way in with without; do /usr/bin/python3 -W ignore check.py "$way"; done >seen
cat seen
cat >expected <<'TEXT'
with, 51 characters: a comment 96, a shorter name 98
with, 153 characters: a comment 99, a shorter name 98
with, 204 characters: a comment 99, a shorter name 98
with, 1020 characters: a comment 100, a shorter name 98
without, 51 characters: a comment 96, a shorter name 98
without, 153 characters: a comment 99, a shorter name 98
without, 204 characters: a comment 0, a shorter name 98
without, 1020 characters: a comment 0, a shorter name 3
TEXT
cmp -s seen expected || { echo "Changed: scores of fuzzywuzzy without Levenshtein" >&2; exit 1; }
