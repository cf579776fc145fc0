#!/usr/bin/env bash
# TopK of ONNX Runtime with one NaN among the values can return neither of the two largest numbers.
#
# Versions: npm onnxruntime-web 1.30.0 (WebAssembly, so alike on all machines); models made with
# npm onnx-proto 8.0.1.
# Behaviour: every comparison with NaN is false, in both directions, so that the operator's order
# breaks and numbers behind the NaN are lost. Which ones depends on k and on the NaN's place.
# ArgMax says that the NaN is largest, ReduceMax of the same tensor says that it is not there.
# A good engineer would guess: NaN counts as the largest (numpy, PyTorch) or as the smallest value;
# all other entries of a sorted TopK are right.
# Output seen: of 1 NaN 3 2 the top 2 are 1 and NaN, the top 1 is 3; ArgMax 1, ReduceMax 3.
# Why it matters: selections of blocks and of tokens are TopK over scores, where a fully masked row
# is 0/0. One such score removes good blocks at other places, and three operators of one model
# disagree about the same tensor.
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
const FLOAT = 1, INT64 = 7;
const value = (name, elemType) => ({
  name,
  type: { tensorType: { elemType, shape: { dim: [{ dimParam: name }] } } },
});
async function run(opType, inputs, outputs, feeds) {
  const attribute = opType === "TopK" ? [{ name: "axis", type: 2, i: 0 }] : [];
  const model = proto.onnx.ModelProto.create({
    irVersion: 8,
    opsetImport: [{ domain: "", version: 17 }],
    graph: {
      name: "graph",
      node: [{ opType, input: Object.keys(inputs), output: Object.keys(outputs), attribute }],
      input: Object.entries(inputs).map(([name, type]) => value(name, type)),
      output: Object.entries(outputs).map(([name, type]) => value(name, type)),
    },
  });
  const bytes = proto.onnx.ModelProto.encode(model).finish();
  const session = await ort.InferenceSession.create(bytes);
  const result = await session.run(feeds);
  return Object.keys(outputs).map((name) => result[name].data.join(" ")).join(" at ");
}
for (const numbers of [[1, NaN, 3, 2], [1, 0, 3, 2]]) {
  const x = new ort.Tensor("float32", Float32Array.from(numbers), [4]);
  for (const k of [1n, 2n]) {
    const feeds = { x, k: new ort.Tensor("int64", BigInt64Array.of(k), [1]) };
    const top = await run("TopK", { x: FLOAT, k: INT64 }, { v: FLOAT, i: INT64 }, feeds);
    console.log(`${numbers.join(" ")}: top ${k}: ${top}`);
  }
  const where = await run("ArgMax", { x: FLOAT }, { i: INT64 }, { x });
  const largest = await run("ReduceMax", { x: FLOAT }, { v: FLOAT }, { x });
  console.log(`ArgMax ${where}, ReduceMax ${largest}`);
}
JS
node check.mjs >seen
cat seen
cat >expected <<'TEXT'
1 NaN 3 2: top 1: 3 at 2
1 NaN 3 2: top 2: 1 NaN at 0 1
ArgMax 1, ReduceMax 3
1 0 3 2: top 1: 3 at 2
1 0 3 2: top 2: 3 2 at 2 3
ArgMax 2, ReduceMax 3
TEXT
cmp -s seen expected || { echo "Changed: NaN in TopK of ONNX Runtime" >&2; exit 1; }
