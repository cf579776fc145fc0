#!/usr/bin/env bash
# `tools|tojson` gives three texts in three Jinjas: keys in order or sorted, blanks or none, < or
# \u003c.
#
# Versions: npm @huggingface/jinja 0.5.11, npm minijinja-js 2.11.0, Debian's python3-jinja2 3.1.2.
# Behaviour: Jinja's own filter sorts keys and escapes what HTML gives a meaning; minijinja does
# so, too, and leaves out the blanks; @huggingface/jinja keeps the order and escapes nothing, which
# is what transformers replaces Jinja's filter by.
# A good engineer would guess: JSON is JSON; at most the blanks differ, and the order of keys is
# that of the messages, as Python's json.dumps and JSON.stringify keep it.
# Output seen: name before type with \u003c in Jinja and minijinja, type before name with < else.
# Why it matters: tools go into the prompt by this filter, and models were trained on the form with
# "type" first. The tokens differ from the first brace on, so that prefixes cached by another
# runtime are never hit and calls of tools get worse, with a prompt that reads right.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm install --prefix "$work" --loglevel=error --no-audit --no-fund --ignore-scripts \
  @huggingface/jinja@0.5.11 minijinja-js@2.11.0 >/dev/null
get() { apt-get download -qq python3-jinja2 python3-markupsafe >/dev/null 2>&1; }
get || { apt-get update -qq && get; } || { echo "No python3-jinja2 to be had here" >&2; exit 1; }
for package in *.deb; do dpkg-deb -x "$package" .; done

echo '{"tool": {"type": "function", "name": "f", "description": "a < b"}}' >data.json
cat >js.mjs <<'JS'
import { readFileSync } from "node:fs";
import { Template } from "@huggingface/jinja";
import minijinja from "minijinja-js";
const data = JSON.parse(readFileSync("data.json", "utf8"));
const text = "{{ tool|tojson }}";
console.log("minijinja:   " + new minijinja.Environment().renderStr(text, data));
console.log("huggingface: " + new Template(text).render(data));
JS
cat >py.py <<'PY'
import json
import jinja2
assert jinja2.__version__ == "3.1.2", jinja2.__version__
data = json.load(open("data.json"))
print("python:      " + jinja2.Environment().from_string("{{ tool|tojson }}").render(data))
PY
{ PYTHONPATH="$work/usr/lib/python3/dist-packages" /usr/bin/python3 py.py && node js.mjs; } >seen
cat seen
cat >expected <<'TEXT'
python:      {"description": "a \u003c b", "name": "f", "type": "function"}
minijinja:   {"description":"a \u003c b","name":"f","type":"function"}
huggingface: {"type": "function", "name": "f", "description": "a < b"}
TEXT
cmp -s seen expected || { echo "Changed: tojson of Jinja engines" >&2; exit 1; }
