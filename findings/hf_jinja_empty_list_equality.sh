#!/usr/bin/env bash
# In @huggingface/jinja two equal lists are not equal: `tool_calls == []` is never true.
#
# Versions: npm @huggingface/jinja 0.5.11, npm minijinja-js 2.11.0, Debian's python3-jinja2 3.1.2.
# Behaviour: `==` on lists and objects compares identity, so that `[] == []` is false and
# `tool_calls != []` is true for an empty list. Strings and numbers compare by value.
# A good engineer would guess: equality is by value, as in Jinja, or an error as other operators
# that are missing for a type give one here (`'a' < 'b'` throws).
# Output seen: python and minijinja say "plain answer", huggingface says "tool calls:" without any.
# Why it matters: clients send `"tool_calls": []` and templates test for it. The prompt then opens
# a section of tool calls that stays empty, which the model has never seen in training.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm install --prefix "$work" --loglevel=error --no-audit --no-fund --ignore-scripts \
  @huggingface/jinja@0.5.11 minijinja-js@2.11.0 >/dev/null
get() { apt-get download -qq python3-jinja2 python3-markupsafe >/dev/null 2>&1; }
get || { apt-get update -qq && get; } || { echo "No python3-jinja2 to be had here" >&2; exit 1; }
for package in *.deb; do dpkg-deb -x "$package" .; done

template="{% if tool_calls != [] %}tool calls:{% else %}plain answer{% endif %}"
cat >js.mjs <<'JS'
import { Template } from "@huggingface/jinja";
import minijinja from "minijinja-js";
const data = { tool_calls: [] };
console.log("minijinja: " + new minijinja.Environment().renderStr(process.argv[2], data));
console.log("huggingface: " + new Template(process.argv[2]).render(data));
JS
cat >py.py <<'PY'
import sys
import jinja2
assert jinja2.__version__ == "3.1.2", jinja2.__version__
print("python: " + jinja2.Environment().from_string(sys.argv[1]).render(tool_calls=[]))
PY
path="$work/usr/lib/python3/dist-packages"
{ PYTHONPATH="$path" /usr/bin/python3 py.py "$template" && node js.mjs "$template"; } >seen
cat seen
cat >expected <<'TEXT'
python: plain answer
minijinja: plain answer
huggingface: tool calls:
TEXT
cmp -s seen expected || { echo "Changed: equality of lists in Jinja" >&2; exit 1; }
