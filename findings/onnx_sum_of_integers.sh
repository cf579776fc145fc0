#!/usr/bin/env bash
# ReduceSum and ReduceMean of integers go through doubles in ONNX Runtime: large 64-bit sums lose
# digits, and 32-bit ones stop at the largest number where CumSum and Add of the same values wrap.
#
# Versions: npm onnxruntime-web 1.30.0 (WebAssembly, so alike on all machines); models made with npm
# onnx-proto 8.0.1.
# Behaviour: the sum of one int64 is already another number. ReduceMax keeps it.
# A good engineer would guess: integer operators are exact, and overflow, if at all, in one way.
# Output seen: the sum of 9007199254740993 alone is 9007199254740992; int32 2e9 + 2e9 is 2147483647 by
# ReduceSum, -294967296 by CumSum and by Add.
# Why it matters: 64-bit ids, seeds, hashes and byte offsets inside a graph change by a sum over an
# axis of one, an innocent squeeze. A check for negative counts, which finds wrapped sums, passes.
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
const INT32 = 6, INT64 = 7;
const named = (name, elemType) => ({
  name,
  type: { tensorType: { elemType, shape: { dim: [{ dimParam: name }] } } },
});
async function run(opType, x, second) {
  const elemType = x.type === "int32" ? INT32 : INT64;
  const model = proto.onnx.ModelProto.create({
    irVersion: 8,
    opsetImport: [{ domain: "", version: 17 }],
    graph: {
      name: "graph",
      node: [{ opType, input: second === undefined ? ["x"] : ["x", "s"], output: ["y"] }],
      input: [named("x", elemType), ...(second === undefined ? [] : [named("s", elemType)])],
      output: [named("y", elemType)],
    },
  });
  const session = await ort.InferenceSession.create(proto.onnx.ModelProto.encode(model).finish());
  const { y } = await session.run({ x, ...(second === undefined ? {} : { s: second }) });
  return [...y.data].join(" ");
}
const id = new ort.Tensor("int64", BigInt64Array.of(9007199254740993n), [1]);
for (const op of ["ReduceSum", "ReduceMean", "ReduceMax"]) console.log(`int64 ${op}:`, await run(op, id));
const large = new ort.Tensor("int32", Int32Array.of(2e9, 2e9), [2]);
const one = new ort.Tensor("int32", Int32Array.of(2e9), [1]);
console.log("int32 ReduceSum:", await run("ReduceSum", large));
console.log("int32 CumSum:", await run("CumSum", large, new ort.Tensor("int32", Int32Array.of(0), [1])));
console.log("int32 Add:", await run("Add", one, one));
JS
node check.mjs >seen
cat seen
cat >expected <<'TEXT'
int64 ReduceSum: 9007199254740992
int64 ReduceMean: 9007199254740992
int64 ReduceMax: 9007199254740993
int32 ReduceSum: 2147483647
int32 CumSum: 2000000000 -294967296
int32 Add: -294967296
TEXT
cmp -s seen expected || { echo "Changed: sums of integers in ONNX Runtime" >&2; exit 1; }
