#!/usr/bin/env bash
# ratio() of JavaScript's fuzzball says that "x + 1" and "x - 1" are equal, and that "==" is nothing
# like "==".
#
# Versions: npm fuzzball 2.2.6; Debian's python3-fuzzywuzzy 0.18.0 and python3-levenshtein 0.12.2,
# of which fuzzball is a port.
# Behaviour: fuzzball's ratio() first puts both texts into lower case and turns what is neither a
# letter nor a digit into blanks, unless `full_process: false` is given. In Python ratio() compares the
# texts as they are; only the scorers that sort words have such a step.
# A good engineer would guess: a port with the same names (ratio, partial_ratio) gives the same
# scores, and the plainest scorer compares what it is given.
# Output seen: x + 1 with x - 1 is 100 here and 80 in Python; a[i] * b with A(i) / B 100 and 38; ==
# with itself 0 and 100.
# Why it matters: code completion in LongBench is scored by ratio(). In JavaScript all wrong operators
# and brackets are full marks, and a line of brackets that is right has none.
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
npm install --prefix "$work" --loglevel=error --no-audit --no-fund --ignore-scripts \
  fuzzball@2.2.6 >/dev/null
cat >pairs.json <<'JSON'
[["x + 1", "x - 1"], ["a[i] * b", "A(i) / B"], ["==", "=="], ["return total", "return totals"]]
JSON
cat >check.mjs <<'JS'
import fs from "node:fs";
import { ratio } from "fuzzball";
for (const [a, b] of JSON.parse(fs.readFileSync("pairs.json"))) {
  console.log(`${a} | ${b}: fuzzball ${ratio(a, b)}, raw ${ratio(a, b, { full_process: false })}`);
}
JS
cat >check.py <<'PY'
import json
from fuzzywuzzy import fuzz
for a, b in json.load(open("pairs.json")):
    print(f"{a} | {b}: fuzzywuzzy {fuzz.ratio(a, b)}")
PY
{ node check.mjs; /usr/bin/python3 check.py; } >seen
cat seen
cat >expected <<'TEXT'
x + 1 | x - 1: fuzzball 100, raw 80
a[i] * b | A(i) / B: fuzzball 100, raw 38
== | ==: fuzzball 0, raw 100
return total | return totals: fuzzball 96, raw 96
x + 1 | x - 1: fuzzywuzzy 80
a[i] * b | A(i) / B: fuzzywuzzy 38
== | ==: fuzzywuzzy 100
return total | return totals: fuzzywuzzy 96
TEXT
cmp -s seen expected || { echo "Changed: scores of fuzzball" >&2; exit 1; }
