#!/usr/bin/env bash
# A cast of infinity to float8e4m3fn is 448 in ONNX: an overflow becomes an ordinary number.
#
# Versions: npm onnxruntime-web 1.30.0 (WebAssembly, so alike on all machines); models made with
# npm onnx-proto 8.0.1.
# Behaviour: Cast saturates unless it is told otherwise, and infinity, too, becomes the largest number
# of the format. With saturate 0 it is NaN, as is every number that rounds above 448.
# A good engineer would guess: the format has no infinity, so that infinity becomes NaN, as in PyTorch;
# saturation concerns finite numbers.
# Output seen: 464, 465 and infinity become 448; with saturate 0: 448, NaN and NaN.
# Why it matters: a cache of keys and values in 8 bits hides what went wrong before it. Infinity in the
# bf16 cache ends in a NaN that a runtime reports; after the cast the answer is merely bad. And the
# same weights cast by two tools differ where one has 448 and the other NaN.
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
const FLOAT = 1, FLOAT8 = 17;
const value = (name) => ({ name, type: { tensorType: { elemType: FLOAT } } });
async function roundTrip(numbers, saturate) {
  const there = [{ name: "to", type: 2, i: FLOAT8 }];
  if (saturate !== undefined) there.push({ name: "saturate", type: 2, i: saturate });
  const model = proto.onnx.ModelProto.create({
    irVersion: 10,
    opsetImport: [{ domain: "", version: 21 }],
    graph: {
      name: "graph",
      node: [
        { opType: "Cast", input: ["x"], output: ["small"], attribute: there },
        {
          opType: "Cast",
          input: ["small"],
          output: ["y"],
          attribute: [{ name: "to", type: 2, i: FLOAT }],
        },
      ],
      input: [value("x")],
      output: [value("y")],
    },
  });
  const session = await ort.InferenceSession.create(proto.onnx.ModelProto.encode(model).finish());
  const x = new ort.Tensor("float32", Float32Array.from(numbers), [numbers.length]);
  return [...(await session.run({ x })).y.data].join(" ");
}
const numbers = [1, 464, 465, Infinity, NaN];
console.log("of", numbers.join(" "));
console.log("by default", await roundTrip(numbers));
console.log("saturate 0", await roundTrip(numbers, 0));
JS
node check.mjs 2>/dev/null >seen
cat seen
cat >expected <<'TEXT'
of 1 464 465 Infinity NaN
by default 1 448 448 448 NaN
saturate 0 1 448 NaN NaN NaN
TEXT
cmp -s seen expected || { echo "Changed: casts to float8e4m3fn in ONNX Runtime" >&2; exit 1; }
