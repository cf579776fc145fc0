#!/usr/bin/env bash
# maxTokens: 0 of node-llama-cpp is no limit: it generates until the model ends, and past the context.
#
# Versions: npm node-llama-cpp 3.22.1 with @node-llama-cpp/linux-x64 of the same version (x86-64,
# glibc), on a CPU; the model is a GGUF of a few KB that is made here.
# Behaviour: the limit is looked at only if it is above 0. With 0, as without a limit, tokens come until the
# end token or a stop text; the context is shifted when it is full.
# A good engineer would guess: 0 tokens are none; llama.cpp's own server reads the prompt and stops with
# n_predict 0, which is how one times a prefill or fills a cache.
# Output seen: maxTokens 1 gives 1 token and 3 gives 3; 0 is still going on at 300 in a context of 256, where
# an abort ends it.
# Why it matters: a call meant to time the prompt or to warm its cache writes a whole answer, or runs for ever
# with a model that does not end. A budget that is used up (limit minus used, 0 left) becomes an endless one.
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
const contextSequence = (await model.createContext({ contextSize: 256 })).getSequence();
const completion = new LlamaCompletion({ contextSequence });
for (const maxTokens of [3, 1, 0]) {
  const stop = new AbortController();
  let count = 0;
  const { metadata } = await completion.generateCompletionWithMeta("abc", {
    maxTokens, signal: stop.signal, stopOnAbortSignal: true,
    onToken: (tokens) => (count += tokens.length) >= 300 && stop.abort(),
  });
  const told = count >= 300 ? "300 or more" : count;
  console.log(`maxTokens ${maxTokens}: ${told} tokens, ${metadata.stopReason}`);
}
process.exit(0);
JS
node model.mjs
node check.mjs >seen
cat seen
cat >expected <<'TEXT'
maxTokens 3: 3 tokens, maxTokens
maxTokens 1: 1 tokens, maxTokens
maxTokens 0: 300 or more tokens, abort
TEXT
cmp -s seen expected || { echo "Changed: a limit of no tokens in node-llama-cpp" >&2; exit 1; }
