#!/usr/bin/env bash
# Numbers of a task file have two readings: 1.5e3 is text in Python, 131_072 is text in JavaScript.
#
# Versions: Debian's python3-yaml 6.0; npm yaml 2.9.1 and js-yaml 5.5.0.
# Behaviour: PyYAML follows YAML 1.1 and asks for a dot and a sign in exponents, so that 1e6 and
# 1.5e3 are strings; it reads 131_072, 017 (as 15) and 12:30 (as 750). The JavaScript packages
# follow YAML 1.2: 1e6 is a number, 131_072 and 12:30 are strings, 017 is 17 and 08 is 8, a string
# in Python.
# A good engineer would guess: yes, no and on are where YAML's versions differ; numbers are
# numbers.
# Output seen: Python and JavaScript read 1e6 as text and 1000000, 131_072 as 131072 and text, 017
# as 15 and 17, 12:30 as 750 and text; none of eight plain scalars is the same in both.
# Why it matters: RULER's tasks are a YAML file that Python reads, and runtimes in JavaScript take
# the same file. A length of 131_072 becomes text, which compares as text ("131_072" < "4096"), and
# a depth or seed with a leading zero is another number.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
export DEBIAN_FRONTEND=noninteractive
installed() {
  local found
  found=$(dpkg-query -W -f='${Status} ${Version}' "$1" 2>/dev/null) || return 1
  [[ "$found" == "install ok installed $2-"* ]]
}
need() {
  get() { apt-get install -qq -y --no-install-recommends "$1" >/dev/null 2>&1; }
  installed "$@" || get "$1" || { apt-get update -qq && get "$1"; } || true
  installed "$@" || { echo "No $1 $2 here" >&2; exit 1; }
}
need python3-yaml 6.0
npm install --prefix "$work" --loglevel=error --no-audit --no-fund --ignore-scripts \
  yaml@2.9.1 js-yaml@5.5.0 >/dev/null
printf '%s\n' "- 1e6" "- 1.5e3" "- 131_072" "- 017" "- 08" "- 0o17" "- 12:30" "- 0b11" >task.yaml
cat >check.mjs <<'JS'
import { readFileSync } from "node:fs";
import { load } from "js-yaml";
import { parse } from "yaml";
const text = readFileSync("task.yaml", "utf8");
console.log("yaml   ", JSON.stringify(parse(text)));
console.log("js-yaml", JSON.stringify(load(text)));
JS
cat >check.py <<'PY'
import json
import yaml
print("pyyaml ", json.dumps(yaml.safe_load(open("task.yaml")), separators=(",", ":")))
PY
{ /usr/bin/python3 check.py && node check.mjs; } >seen
cat seen
cat >expected <<'TEXT'
pyyaml  ["1e6","1.5e3",131072,15,"08","0o17",750,3]
yaml    [1000000,1500,"131_072",17,8,15,"12:30","0b11"]
js-yaml [1000000,1500,"131_072",17,8,15,"12:30","0b11"]
TEXT
cmp -s seen expected || { echo "Changed: numbers in YAML" >&2; exit 1; }
