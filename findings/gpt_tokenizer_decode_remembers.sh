#!/usr/bin/env bash
# decode() of gpt-tokenizer remembers: the same ids give another text after a cut one was decoded.
#
# Versions: npm gpt-tokenizer 4.0.0; npm js-tiktoken 1.0.21 beside it, which has no memory.
# Behaviour: one streaming TextDecoder serves all calls and is never flushed. Ids that end inside a
# character decode to less than they hold, without U+FFFD, and their bytes stay in the decoder. The
# next call that decodes bytes begins with what is left of them.
# A good engineer would guess: decode(ids) is a function of ids, and broken bytes give U+FFFD, as
# in every other tokenizer; the generators are for streams.
# Output seen: the same ids give "𝓐 is", then "�𝓐 is" after another text was cut, then "𝓐 is"
# again.
# Why it matters: long contexts are cut to a number of tokens, and a cut often lies within a
# character. A document then corrupts the next one, in an order that depends on who calls first.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm install --prefix "$work" --loglevel=error --no-audit --no-fund --ignore-scripts \
  gpt-tokenizer@4.0.0 js-tiktoken@1.0.21 >/dev/null
cat >check.mjs <<'JS'
import { decode, encode } from "gpt-tokenizer/encoding/cl100k_base";
import { getEncoding } from "js-tiktoken";
const tiktoken = getEncoding("cl100k_base");
const cut = encode("about ⅓").slice(0, -1);
const ids = encode("𝓐 is");
const calls = [ids, cut, ids, ids];
console.log("gpt:", JSON.stringify(calls.map((each) => decode(each))));
console.log("tiktoken:", JSON.stringify(calls.map((each) => tiktoken.decode(each))));
JS
node check.mjs >seen
cat seen
cat >expected <<'TEXT'
gpt: ["𝓐 is","about ","�𝓐 is","𝓐 is"]
tiktoken: ["𝓐 is","about �","𝓐 is","𝓐 is"]
TEXT
cmp -s seen expected || {
  echo "Changed: what decode() of gpt-tokenizer keeps between calls" >&2
  exit 1
}
