#!/usr/bin/env bash
# node-llama-cpp's grammar of a JSON schema ignores pattern, minimum and maximum, without an error.
#
# Versions: npm node-llama-cpp 3.22.1 with @node-llama-cpp/linux-x64 of the same version (x86-64,
# glibc), on a CPU; the model is a GGUF of a few KB that is made here.
# Behaviour: types, enum, minLength, maxLength, minItems and maxItems are made into the grammar; pattern,
# minimum and maximum are passed over, by the grammar as by the check of its parse().
# A good engineer would guess: what a grammar cannot express is refused, or at least found by parse(), which
# does find a missing key and a wrong type.
# Output seen: parse() takes "abcd" for the pattern ^[0-9]{4}$ and 7 for 0 to 1, and refuses a text for a
# number and a missing key; a model that likes the letter a writes it where the pattern has digits, and is
# kept to two of them by maxLength.
# Why it matters: answers of a benchmark are forced into a form: a needle of four digits, a grade from 0 to 1.
# The form is not forced, the checked result says nothing, and grades above 1 go into a mean.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm install --prefix "$work" --loglevel=error --no-audit --no-fund --ignore-scripts --omit=optional \
  node-llama-cpp@3.22.1 @node-llama-cpp/linux-x64@3.22.1 >/dev/null
cat >model.mjs <<'JS'
import fs from "node:fs";
const bytes = (size, set) => (x) => { const b = Buffer.alloc(size); b[set](x); return b; };
const u32 = bytes(4, "writeUInt32LE"), f32 = bytes(4, "writeFloatLE"), big = bytes(8, "writeBigUInt64LE");
const u64 = (n) => big(BigInt(n));
const text = (s) => Buffer.concat([u64(Buffer.byteLength(s)), Buffer.from(s)]);
const list = (type, of, xs) => [9, Buffer.concat([u32(type), u64(xs.length), ...xs.map(of)])];
const hex = Array.from({ length: 256 }, (_, i) => i.toString(16).toUpperCase().padStart(2, "0"));
const words = ["<unk>", "<s>", "</s>", ...hex.map((h) => `<0x${h}>`), ..."▁abcdefghijklmnopqrstuvwxyz"];
const count = words.length, width = 32, square = [width, width];
const at = (name, value) => [`llama.${name}`, [4, u32(value)]];
const keys = [
  ["general.architecture", [8, text("llama")]], at("context_length", 4096), at("block_count", 1),
  at("embedding_length", width), at("feed_forward_length", width), at("attention.head_count", 2),
  ["llama.attention.layer_norm_rms_epsilon", [6, f32(1e-5)]],
  ["tokenizer.ggml.model", [8, text("llama")]], ["tokenizer.ggml.tokens", list(8, text, words)],
  ["tokenizer.ggml.scores", list(6, f32, words.map(() => 0))],
  ["tokenizer.ggml.token_type", list(5, u32, words.map((_, i) => [2, 3, 3][i] ?? (i < 259 ? 6 : 1)))],
];
const layer = ["attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"];
const tensors = [
  ["token_embd", [width, count]], ["output", [width, count]], ["output_norm", [width]],
  ["blk.0.attn_norm", [width]], ["blk.0.ffn_norm", [width]],
  ...layer.map((name) => [`blk.0.${name}`, square]),
];
const size = (dims) => 4 * dims.reduce((a, b) => a * b);
let offset = 0;
const infos = tensors.map(([name, dims]) => {
  const start = u64(offset);
  offset += size(dims);
  return Buffer.concat([text(`${name}.weight`), u32(dims.length), ...dims.map(u64), u32(0), start]);
});
const head = Buffer.concat([
  Buffer.from("GGUF"), u32(3), u64(tensors.length), u64(keys.length),
  ...keys.map(([name, [type, value]]) => Buffer.concat([text(name), u32(type), value])), ...infos,
]);
fs.writeFileSync("model.gguf", Buffer.concat([head, Buffer.alloc(32 - head.length % 32 + offset)]));
JS
cat >check.mjs <<'JS'
import { getLlama, LlamaCompletion, TokenBias } from "node-llama-cpp";
const llama = await getLlama({ build: "never", gpu: false, logLevel: "error", maxThreads: 1 });
const model = await llama.loadModel({ modelPath: "model.gguf" });
const contextSequence = (await model.createContext({ contextSize: 256 })).getSequence();
const completion = new LlamaCompletion({ contextSequence });
const grammarOf = (schema) => llama.createGrammarForJsonSchema(schema);
const needle = await grammarOf({ type: "string", pattern: "^[0-9]{4}$" });
const grade = await grammarOf({ type: "number", minimum: 0, maximum: 1 });
const key = await grammarOf({ type: "object", properties: { a: { type: "number" } } });
const tried = (name, grammar, text) => {
  let found;
  try {
    found = `is ${JSON.stringify(grammar.parse(text))}`;
  } catch {
    found = "is refused";
  }
  console.log(`${name}: ${text} ${found}`);
};
tried("four digits", needle, '"abcd"');
tried("0 to 1", grade, "7");
tried("0 to 1", grade, '"x"');
tried("a key", key, "{}");
const tokenBias = new TokenBias(model.tokenizer).set(model.tokenize("a").slice(-1), { logit: 50 });
const written = (grammar) => completion.generateCompletion("b", { maxTokens: 8, grammar, tokenBias });
console.log("written for four digits:", await written(needle));
const two = await grammarOf({ type: "string", maxLength: 2 });
console.log("written for two characters:", await written(two));
process.exit(0);
JS
node model.mjs
node check.mjs >seen
cat seen
cat >expected <<'TEXT'
four digits: "abcd" is "abcd"
0 to 1: 7 is 7
0 to 1: "x" is refused
a key: {} is refused
written for four digits: "aaaaaaa
written for two characters: "aa"
TEXT
cmp -s seen expected || { echo "Changed: what a JSON schema forces in node-llama-cpp" >&2; exit 1; }
