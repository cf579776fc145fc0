#!/usr/bin/env bash
# ONNX's Attention with is_causal: a token sees one key or all of them, by which input brings the keys.
#
# Versions: npm onnxruntime-web 1.30.0 (WebAssembly, so alike on all machines); models made with
# npm onnx-proto 8.0.1; operator sets 23 and 24.
# Behaviour: where keys outnumber queries, the causal mask of K and V is aligned with their first key;
# keys that come as past_key and past_value are before the queries.
# A good engineer would guess: the last query sees the last key either way, as in FlashAttention since
# 2.1, and as a decode step needs it.
# Output seen: one query and the same four keys give the first value alone (1) if all come as K and V,
# and the mean over all (472) if three of them come as the past.
# Why it matters: who keeps the cache outside of the model, in pages of one's own, passes the whole of
# it as K and V. Prefill is right, and each step of decoding reads the first token only: fluent text
# with a score near zero, and no error.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm install --prefix "$work" --loglevel=error --no-audit --no-fund --ignore-scripts \
  onnxruntime-web@1.30.0 onnx-proto@8.0.1 >/dev/null
cat >check.mjs <<'JS'
import proto from "onnx-proto";
import * as ort from "onnxruntime-web";
ort.env.wasm.numThreads = 1;
const KEYS = [1, 0, 0, 1, 1, 1, 2, 0];
const VALUES = [1, 1, 10, 10, 100, 100, 1000, 1000];
const heads = (numbers) =>
  new ort.Tensor("float32", Float32Array.from(numbers), [1, 1, numbers.length / 2, 2]);
async function attend(version, feeds, outputs) {
  const inputs = ["q", "k", "v", "mask", "past_k", "past_v"]
    .map((name) => name in feeds ? name : "")
    .slice(0, "past_k" in feeds ? 6 : 3);
  const value = (name) => ({ name, type: { tensorType: { elemType: 1 } } });
  const model = proto.onnx.ModelProto.create({
    irVersion: 10,
    opsetImport: [{ domain: "", version }],
    graph: {
      name: "graph",
      node: [{
        opType: "Attention",
        input: inputs,
        output: outputs,
        attribute: [{ name: "is_causal", type: 2, i: 1 }],
      }],
      input: inputs.filter((name) => name !== "").map(value),
      output: outputs.map(value),
    },
  });
  const bytes = proto.onnx.ModelProto.encode(model).finish();
  const session = await ort.InferenceSession.create(bytes);
  return (await session.run(feeds)).y.data[0].toFixed(0);
}
for (const version of [23, 24]) {
  const q = heads([1, 0]);
  const whole = await attend(version, { q, k: heads(KEYS), v: heads(VALUES) }, ["y"]);
  const split = await attend(version, {
    q,
    k: heads(KEYS.slice(6)),
    v: heads(VALUES.slice(6)),
    past_k: heads(KEYS.slice(0, 6)),
    past_v: heads(VALUES.slice(0, 6)),
  }, ["y", "present_k", "present_v"]);
  console.log(`operator set ${version}: as K and V ${whole}, three of them as the past ${split}`);
}
JS
node check.mjs 2>/dev/null >seen
cat seen
cat >expected <<'TEXT'
operator set 23: as K and V 1, three of them as the past 472
operator set 24: as K and V 1, three of them as the past 472
TEXT
cmp -s seen expected || { echo "Changed: the causal mask of ONNX's Attention" >&2; exit 1; }
