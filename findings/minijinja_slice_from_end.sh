#!/usr/bin/env bash
# In minijinja the last five of two messages are none, and all but the last five of two are both.
#
# Versions: npm minijinja-js 2.11.0, npm @huggingface/jinja 0.5.11, Debian's python3-jinja2 3.1.2.
# Behaviour: a negative bound that reaches beyond the start is not clamped to it. `messages[-5:]`
# is empty and `messages[:-5]` is everything, for lists and for strings; within the length all
# agree.
# A good engineer would guess: slices clamp, as in Python, whose syntax this is; tests with long
# conversations confirm it.
# Output seen: python "2 0 ab", huggingface "2 0 ab", minijinja "0 2" and an empty string.
# Why it matters: a template that keeps the last N turns of a long conversation drops every turn of
# a short one. The model gets a prompt without any message, and nothing reports it.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm install --prefix "$work" --loglevel=error --no-audit --no-fund --ignore-scripts \
  @huggingface/jinja@0.5.11 minijinja-js@2.11.0 >/dev/null
get() { apt-get download -qq python3-jinja2 python3-markupsafe >/dev/null 2>&1; }
get || { apt-get update -qq && get; } || { echo "No python3-jinja2 to be had here" >&2; exit 1; }
for package in *.deb; do dpkg-deb -x "$package" .; done

template="{{ m[-5:]|length }} {{ m[:-5]|length }} [{{ 'ab'[-3:] }}] {{ m[-2:]|length }}"
cat >js.mjs <<'JS'
import { Template } from "@huggingface/jinja";
import minijinja from "minijinja-js";
const data = { m: ["first", "second"] };
console.log("huggingface: " + new Template(process.argv[2]).render(data));
console.log("minijinja: " + new minijinja.Environment().renderStr(process.argv[2], data));
JS
cat >py.py <<'PY'
import sys
import jinja2
assert jinja2.__version__ == "3.1.2", jinja2.__version__
print("python: " + jinja2.Environment().from_string(sys.argv[1]).render(m=["first", "second"]))
PY
path="$work/usr/lib/python3/dist-packages"
{ PYTHONPATH="$path" /usr/bin/python3 py.py "$template" && node js.mjs "$template"; } >seen
cat seen
cat >expected <<'TEXT'
python: 2 0 [ab] 2
huggingface: 2 0 [ab] 2
minijinja: 0 2 [] 2
TEXT
cmp -s seen expected || { echo "Changed: slices from the end in minijinja" >&2; exit 1; }
