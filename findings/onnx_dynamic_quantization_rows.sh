#!/usr/bin/env bash
# In a dynamically quantized ONNX model a later token changes an earlier one: 0.935 becomes 0.941, then 0.
#
# Versions: npm onnxruntime-web 1.30.0 (WebAssembly, so alike on all machines); models made with
# npm onnx-proto 8.0.1.
# Behaviour: DynamicQuantizeLinear has one scale and zero point for its whole input: all tokens of all rows
# of the batch. One large activation coarsens all others.
# A good engineer would guess: the scale is each token's own, as in the 8-bit layers of LLM runtimes; at
# least a causal model stays causal, and a batch is as good as its rows alone.
# Output seen: a row whose product is 0.9395 gives 0.935294 alone, 0.937010 beside a row of ones, 0.941176
# beside one with -60 and exactly 0 beside one with -600.
# Why it matters: files called model_quantized.onnx hold these operators at each linear layer. Logits of a
# prompt depend on the tokens behind them, prefill and decode differ, a batch changes its answers, and one
# outlier in a long context takes the precision of all of it.
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
const FLOAT = 1, INT8 = 3;
const value = (name, elemType) => ({ name, type: { tensorType: { elemType } } });
const model = proto.onnx.ModelProto.create({
  irVersion: 8,
  opsetImport: [{ domain: "", version: 17 }],
  graph: {
    name: "linear",
    node: [
      { opType: "DynamicQuantizeLinear", input: ["x"], output: ["codes", "scale", "zero"] },
      { opType: "MatMulInteger", input: ["codes", "weights", "zero"], output: ["sums"] },
      { opType: "Cast", input: ["sums"], output: ["products"], attribute: [{ name: "to", type: 2, i: FLOAT }] },
      { opType: "Mul", input: ["scale", "step"], output: ["unit"] },
      { opType: "Mul", input: ["products", "unit"], output: ["y"] },
    ],
    input: [value("x", FLOAT), value("weights", INT8), value("step", FLOAT)],
    output: [value("y", FLOAT)],
  },
});
const session = await ort.InferenceSession.create(proto.onnx.ModelProto.encode(model).finish());
const weights = new ort.Tensor("int8", Int8Array.of(100, -50, 25, 127), [4, 1]);
const step = new ort.Tensor("float32", Float32Array.of(0.01), []);
const token = [0.5, -0.25, 0.75, 0.1];
for (const later of [[], [1, 1, 1, 1], [20, -60, 3, 1], [200, -600, 3, 1]]) {
  const x = new ort.Tensor("float32", Float32Array.from([...token, ...later]), [later.length ? 2 : 1, 4]);
  const { y } = await session.run({ x, weights, step });
  console.log(`${later.join(" ") || "alone"}: ${y.data[0].toFixed(6)}`);
}
JS
node check.mjs >seen
cat seen
cat >expected <<'TEXT'
alone: 0.935294
1 1 1 1: 0.937010
20 -60 3 1: 0.941176
200 -600 3 1: 0.000000
TEXT
cmp -s seen expected || { echo "Changed: the scale of dynamic quantization in ONNX Runtime" >&2; exit 1; }
