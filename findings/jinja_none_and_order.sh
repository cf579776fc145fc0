#!/usr/bin/env bash
# A message without content reads "None", "none" or nothing in three Jinjas, and minijinja sorts a
# tool's arguments.
#
# Versions: Debian's python3-jinja2 3.1.2, npm @huggingface/jinja 0.5.11, npm minijinja-js 2.11.0.
# Behaviour: {{ message.content }} of a null prints "None" in Python, nothing in @huggingface/jinja
# and "none" in minijinja, which join() does alike. A loop over items() or a dict itself goes by the
# order of the JSON in the first two and by the alphabet in minijinja. @huggingface/jinja says that
# '1' == 1.
# A good engineer would guess: engines that run the same templates of models print the same prompt; a
# difference is an error at least.
# Output seen: None, nothing, none; "unit city days" in two and "city days unit" in the third.
# Why it matters: content is null in each assistant's message that calls a tool, and templates print a
# tool's parameters by such loops. The model reads a word that nobody wrote, or another order of
# arguments than it was trained on, and a cached prefix does not match.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
export DEBIAN_FRONTEND=noninteractive
installed() {
  local found
  found=$(dpkg-query -W -f='${Status} ${Version}' "$1" 2>/dev/null) || return 1
  [[ "$found" == "install ok installed $2"* ]]
}
need() {
  get() { apt-get install -qq -y --no-install-recommends "$1" >/dev/null 2>&1; }
  installed "$@" || get "$1" || { apt-get update -qq && get "$1"; } || true
  installed "$@" || { echo "No $1 $2 here" >&2; exit 1; }
}
need python3-jinja2 3.1.2
npm install --prefix "$work" --loglevel=error --no-audit --no-fund --ignore-scripts \
  @huggingface/jinja@0.5.11 minijinja-js@2.11.0 >/dev/null
cat >cases.json <<'JSON'
{
  "templates": [
    "[{{ message.content }}]",
    "{{ list | join(',') }}",
    "{% for name, value in tool | items %}{{ name }}={{ value }} {% endfor %}",
    "{% for name in tool %}{{ name }} {% endfor %}",
    "{{ '1' == 1 }} {{ true }}"
  ],
  "context": {
    "message": { "role": "assistant", "content": null },
    "list": ["a", null, "b"],
    "tool": { "unit": "K", "city": "Oslo", "days": 3 }
  }
}
JSON
cat >check.py <<'PY'
import json
import jinja2

cases = json.load(open("cases.json"))
for text in cases["templates"]:
    print("jinja2", jinja2.Template(text).render(cases["context"]))
PY
cat >check.mjs <<'JS'
import { readFileSync } from "node:fs";
import { Template } from "@huggingface/jinja";
import { Environment } from "minijinja-js";
const { templates, context } = JSON.parse(readFileSync("cases.json", "utf8"));
const environment = new Environment();
for (const text of templates) console.log("@huggingface/jinja", new Template(text).render(context));
for (const text of templates) console.log("minijinja", environment.renderStr(text, context));
JS
{ /usr/bin/python3 check.py; node check.mjs; } | sed 's/ *$//' >seen
cat seen
cat >expected <<'TEXT'
jinja2 [None]
jinja2 a,None,b
jinja2 unit=K city=Oslo days=3
jinja2 unit city days
jinja2 False True
@huggingface/jinja []
@huggingface/jinja a,,b
@huggingface/jinja unit=K city=Oslo days=3
@huggingface/jinja unit city days
@huggingface/jinja true true
minijinja [none]
minijinja a,none,b
minijinja city=Oslo days=3 unit=K
minijinja city days unit
minijinja false true
TEXT
cmp -s seen expected || { echo "Changed: how three Jinjas print nothing and loop over a dict" >&2; exit 1; }
