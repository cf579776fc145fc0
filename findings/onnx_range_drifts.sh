#!/usr/bin/env bash
# ONNX Runtime's Range adds its step again and again in f32: number 131,071 is where 130,935
# should be.
#
# Versions: npm onnxruntime-web 1.30.0 (WebAssembly, so alike on all machines); models made with
# npm onnx-proto 8.0.1.
# Behaviour: each number is the one before plus the step, with the rounding errors of all. Steps that
# are powers of two are exact, others drift, all in the same direction. The operator's definition says
# start + i * step.
# A good engineer would guess: start + i * step, off by one rounding, as numpy and PyTorch compute it
# and as the specification says.
# Output seen: with step 0.1 the last of 131,072 numbers is 13093.52 for 13107.1, 136 steps back; with
# 0.25 it is exact.
# Why it matters: position interpolation for long contexts divides positions by a factor, and exported
# models make such positions with Range. Scaled by 8 a model is right; scaled by 10 the ends of long
# prompts have the wrong angles, and short prompts in a test do not.
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
const scalar = (name) => ({ name, type: { tensorType: { elemType: 1, shape: { dim: [] } } } });
const model = proto.onnx.ModelProto.create({
  irVersion: 8,
  opsetImport: [{ domain: "", version: 17 }],
  graph: {
    name: "graph",
    node: [{ opType: "Range", input: ["start", "limit", "delta"], output: ["y"] }],
    input: ["start", "limit", "delta"].map(scalar),
    output: [{ name: "y", type: { tensorType: { elemType: 1 } } }],
  },
});
const session = await ort.InferenceSession.create(proto.onnx.ModelProto.encode(model).finish());
const count = 131072;
for (const step of [0.1, 1 / 3, 0.25]) {
  const delta = Math.fround(step);
  const number = (x) => new ort.Tensor("float32", Float32Array.of(x), []);
  const { y } = await session.run({
    start: number(0),
    limit: number(count * delta),
    delta: number(delta),
  });
  const right = (count - 1) * delta;
  const off = Math.round((right - y.data[count - 1]) / delta);
  console.log(`step ${step.toFixed(2)}: ${y.data.length} numbers, the last ${
    y.data[count - 1].toFixed(2)
  } for ${right.toFixed(2)}, ${off} steps back`);
}
JS
node check.mjs >seen
cat seen
cat >expected <<'TEXT'
step 0.10: 131072 numbers, the last 13093.52 for 13107.10, 136 steps back
step 0.33: 131072 numbers, the last 43673.10 for 43690.33, 52 steps back
step 0.25: 131072 numbers, the last 32767.75 for 32767.75, 0 steps back
TEXT
cmp -s seen expected || { echo "Changed: Range of ONNX Runtime" >&2; exit 1; }
