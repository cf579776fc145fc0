#!/usr/bin/env bash
# node-llama-cpp answers a prompt that is longer than the context: it deletes the prompt's beginning.
#
# Versions: npm node-llama-cpp 3.22.1 with @node-llama-cpp/linux-x64 of the same version (x86-64,
# glibc), on a CPU; the model is a GGUF of a few KB that is made here.
# Behaviour: whenever the context is full, in the middle of a prompt too, the oldest tokens go until some
# room is left. There is no error, no warning and no mark in what is returned, by a completion as by the
# plain evaluation of tokens.
# A good engineer would guess: a prompt that does not fit is refused; shifting, if it is there at all,
# is for what is generated.
# Output seen: of "needle" and 400 letters in a context of 256 the needle is gone, of 100 letters it is
# kept; both give new tokens and the stop reason maxTokens.
# Why it matters: a question over a document that is a little too long is answered without the system
# prompt and without the document's beginning. In a test with needles all at small depths are missed,
# which looks like a model that is bad at long contexts.
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
import { getLlama, LlamaCompletion } from "node-llama-cpp";
const llama = await getLlama({ build: "never", gpu: false, logLevel: "error", maxThreads: 1 });
const model = await llama.loadModel({ modelPath: "model.gguf" });
const sequence = (await model.createContext({ contextSize: 256 })).getSequence();
const completion = new LlamaCompletion({ contextSequence: sequence });
for (const length of [100, 400]) {
  const prompt = "needle" + "c".repeat(length), ids = model.tokenize(prompt);
  const ways = {
    completion: async () =>
      (await completion.generateCompletionWithMeta(prompt, { maxTokens: 3 })).metadata.stopReason,
    evaluate: async () => (await sequence.evaluate(ids).next()).done ? "no token" : "a token",
    prefill: async () => (await sequence.evaluateWithoutGeneratingNewTokens(ids)) ?? "no error",
  };
  for (const [name, run] of Object.entries(ways)) {
    await sequence.clearHistory();
    const result = await run();
    const kept = model.detokenize(sequence.contextTokens).trim();
    console.log(`${name} of ${length} letters: ${result}, needle kept ${kept.includes("needle")}`);
  }
}
JS
node model.mjs
node check.mjs >seen
cat seen
cat >expected <<'TEXT'
completion of 100 letters: maxTokens, needle kept true
evaluate of 100 letters: a token, needle kept true
prefill of 100 letters: no error, needle kept true
completion of 400 letters: maxTokens, needle kept false
evaluate of 400 letters: a token, needle kept false
prefill of 400 letters: no error, needle kept false
TEXT
cmp -s seen expected || { echo "Changed: prompts longer than the context in node-llama-cpp" >&2; exit 1; }
