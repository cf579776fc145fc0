#!/usr/bin/env bash
# byte_fallback works for BPE and not for Unigram in @huggingface/tokenizers: line feeds become
# <unk>.
#
# Versions: npm tokenizers 0.23.2 (Rust), @huggingface/tokenizers 0.2.0 (JavaScript).
# Behaviour: of a Unigram model with `byte_fallback: true` Rust (and SentencePiece, which has the
# option) encodes what is not in the vocabulary as bytes, <0x0A> for a line feed. JavaScript
# ignores the option there, gives one <unk> for the whole stretch, and honours it for a BPE model.
# A good engineer would guess: an option with the same name in the same file is read alike by two
# libraries of one maker; a model with 256 byte tokens has no unknown text.
# Output seen: "a⏎é" is a ⏎ and two bytes with Rust, a and one <unk> with JavaScript; BPE is equal.
# Why it matters: the text is lost, and silently: fewer tokens are counted than the model will get,
# lengths of benchmarks come out too long, and a prompt loses its paragraphs.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm install --prefix "$work" --loglevel=error --no-audit --no-fund --ignore-scripts \
  tokenizers@0.23.2 @huggingface/tokenizers@0.2.0 >/dev/null
cat >check.mjs <<'JS'
import { Tokenizer as JavaScript } from "@huggingface/tokenizers";
import tokenizers from "tokenizers";
const byte = (value) => `<0x${value.toString(16).toUpperCase().padStart(2, "0")}>`;
const pieces = ["<unk>", ...Array.from({ length: 256 }, (_, value) => byte(value)), "a", "b"];
const models = {
  unigram: {
    type: "Unigram",
    unk_id: 0,
    byte_fallback: true,
    vocab: pieces.map((piece, id) => [piece, id > 256 ? -1 : 0]),
  },
  bpe: {
    type: "BPE",
    unk_token: "<unk>",
    byte_fallback: true,
    vocab: Object.fromEntries(pieces.map((piece, id) => [piece, id])),
    merges: [],
  },
};
for (const [name, model] of Object.entries(models)) {
  const json = {
    version: "1.0",
    truncation: null,
    padding: null,
    added_tokens: [],
    normalizer: null,
    pre_tokenizer: null,
    post_processor: null,
    decoder: { type: "ByteFallback" },
    model,
  };
  const rust = tokenizers.Tokenizer.fromString(JSON.stringify(json));
  const show = (ids) => [...ids].map((id) => pieces[id]).join(" ");
  console.log(name, "rust", show((await rust.encode("a\né")).getIds()));
  console.log(name, "javascript", show(new JavaScript(json, {}).encode("a\né").ids));
}
JS
node check.mjs >seen
cat seen
cat >expected <<'TEXT'
unigram rust a <0x0A> <0xC3> <0xA9>
unigram javascript a <unk>
bpe rust a <0x0A> <0xC3> <0xA9>
bpe javascript a <0x0A> <0xC3> <0xA9>
TEXT
cmp -s seen expected || { echo "Changed: byte fallback of Unigram models" >&2; exit 1; }
