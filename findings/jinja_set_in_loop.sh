#!/usr/bin/env bash
# A variable set inside a loop survives into the next iteration in both JavaScript Jinjas, not in
# Jinja.
#
# Versions: npm @huggingface/jinja 0.5.11, npm minijinja-js 2.11.0, Debian's python3-jinja2 3.1.2.
# Behaviour: in Python each iteration starts with the outer value again, so that a flag set for one
# message is gone at the next. The two others make one scope for the whole loop: the flag stays
# until the loop ends, and only then is the outer value back.
# A good engineer would guess: the well-known rule "a set inside a loop is not seen outside of it"
# is all there is to know, and everybody has it. That rule holds in all three and hides the
# difference.
# Output seen: python "system user tool user", the others "system user after-tool after-user".
# Why it matters: templates use such flags to mark the first user turn, or the turn after a tool
# call. The same messages give other prompts in Python than in a JavaScript runtime, from the
# second turn on.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm install --prefix "$work" --loglevel=error --no-audit --no-fund --ignore-scripts \
  @huggingface/jinja@0.5.11 minijinja-js@2.11.0 >/dev/null
get() { apt-get download -qq python3-jinja2 python3-markupsafe >/dev/null 2>&1; }
get || { apt-get update -qq && get; } || { echo "No python3-jinja2 to be had here" >&2; exit 1; }
for package in *.deb; do dpkg-deb -x "$package" .; done

cat >template.jinja <<'JINJA'
{% set seen = false %}{% for role in ['system', 'user', 'tool', 'user'] %}{% if seen %}after-{% endif %}{{ role }} {% if role == 'user' %}{% set seen = true %}{% endif %}{% endfor %}then {% if seen %}true{% else %}false{% endif %}
JINJA
cat >js.mjs <<'JS'
import { readFileSync } from "node:fs";
import { Template } from "@huggingface/jinja";
import minijinja from "minijinja-js";
const text = readFileSync("template.jinja", "utf8").trim();
console.log("huggingface: " + new Template(text).render({}));
console.log("minijinja: " + new minijinja.Environment().renderStr(text, {}));
JS
cat >py.py <<'PY'
import jinja2
assert jinja2.__version__ == "3.1.2", jinja2.__version__
text = open("template.jinja").read().strip()
print("python: " + jinja2.Environment().from_string(text).render())
PY
{ PYTHONPATH="$work/usr/lib/python3/dist-packages" /usr/bin/python3 py.py && node js.mjs; } >seen
cat seen
cat >expected <<'TEXT'
python: system user tool user then false
huggingface: system user after-tool after-user then false
minijinja: system user after-tool after-user then false
TEXT
cmp -s seen expected || { echo "Changed: the scope of 'set' inside a loop" >&2; exit 1; }
