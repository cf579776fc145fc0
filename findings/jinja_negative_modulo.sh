#!/usr/bin/env bash
# -1 % 2 is 1 in Jinja and in minijinja, and -1 in @huggingface/jinja: three engines, three rules.
#
# Versions: npm @huggingface/jinja 0.5.11, npm minijinja-js 2.11.0, Debian's python3-jinja2 3.1.2.
# Behaviour: the remainder has the divisor's sign in Python, is never negative in minijinja, and
# has the dividend's sign in @huggingface/jinja: three rules, which agree while nothing is
# negative.
# A good engineer would guess: a template language has one remainder, the one of its reference.
# Output seen: -1 % 2 gives 1, 1, -1; 1 % -2 gives -1, 1, 1 (python, minijinja, huggingface).
# Why it matters: templates test turns with `(loop.index0 - offset) % 2 == 1` to insist that user
# and assistant alternate, and raise if not. With an offset for a system prompt the same
# conversation is rendered in one runtime and refused, or merged into the wrong role, in the other.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm install --prefix "$work" --loglevel=error --no-audit --no-fund --ignore-scripts \
  @huggingface/jinja@0.5.11 minijinja-js@2.11.0 >/dev/null
get() { apt-get download -qq python3-jinja2 python3-markupsafe >/dev/null 2>&1; }
get || { apt-get update -qq && get; } || { echo "No python3-jinja2 to be had here" >&2; exit 1; }
for package in *.deb; do dpkg-deb -x "$package" .; done

template='{{ -1 % 2 }} {{ (0 - 1) % 2 }} {{ 1 % -2 }} {{ (i - 1) % 2 == 1 }}'
cat >js.mjs <<'JS'
import { Template } from "@huggingface/jinja";
import minijinja from "minijinja-js";
const text = process.argv[2];
console.log("minijinja: " + new minijinja.Environment().renderStr(text, { i: 0 }));
console.log("huggingface: " + new Template(text).render({ i: 0 }));
JS
cat >py.py <<'PY'
import sys
import jinja2
assert jinja2.__version__ == "3.1.2", jinja2.__version__
print("python: " + jinja2.Environment().from_string(sys.argv[1]).render(i=0).lower())
PY
path="$work/usr/lib/python3/dist-packages"
{ PYTHONPATH="$path" /usr/bin/python3 py.py "$template" && node js.mjs "$template"; } >seen
cat seen
cat >expected <<'TEXT'
python: 1 1 -1 true
minijinja: 1 1 1 true
huggingface: -1 -1 1 false
TEXT
cmp -s seen expected || { echo "Changed: the remainder of negative numbers in Jinja" >&2; exit 1; }
