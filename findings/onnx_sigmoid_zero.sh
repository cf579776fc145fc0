#!/usr/bin/env bash
# Sigmoid of ONNX Runtime is exactly 0 from -17.5 down, and its logarithm minus infinity.
#
# Versions: npm onnxruntime-web 1.30.0 (WebAssembly, so alike on all machines); models made with npm
# onnx-proto 8.0.1.
# Behaviour: the function is a fraction of polynomials around 0.5, right to an absolute 1e-7. Small
# results are steps of 3e-8, off by half at -16, and then 0. Minus Softplus of the negated input, the
# same logarithm, is right everywhere. (onnxruntime-node 1.30.0 even gives -17 more than -16.)
# A good engineer would guess: a relative accuracy of f32, about 1e-7, down to 1e-38 at -87.
# Output seen: 5.96e-8 at -16 (right: 1.13e-7), 0 at -18 (1.52e-8) and -30 (9.36e-14); logarithms
# -16.6, -Infinity and -Infinity; by Softplus -16, -18 and -30.
# Why it matters: rerankers and gates of experts end in a sigmoid. All bad passages of a long context
# tie at 0, and one certain sample makes a mean log-likelihood infinite.
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
const type = { tensorType: { elemType: 1, shape: { dim: [{ dimParam: "n" }] } } };
const named = (name) => ({ name, type });
const node = (opType, input, output) => ({ opType, input: [input], output: [output] });
const model = proto.onnx.ModelProto.create({
  irVersion: 8,
  opsetImport: [{ domain: "", version: 17 }],
  graph: {
    name: "graph",
    node: [
      node("Sigmoid", "x", "sigmoid"),
      node("Log", "sigmoid", "log"),
      node("Neg", "x", "minus"),
      node("Softplus", "minus", "softplus"),
      node("Neg", "softplus", "bySoftplus"),
    ],
    input: [named("x")],
    output: ["sigmoid", "log", "bySoftplus"].map(named),
  },
});
const session = await ort.InferenceSession.create(proto.onnx.ModelProto.encode(model).finish());
const inputs = [-2, -10, -16, -18, -30];
const x = new ort.Tensor("float32", Float32Array.from(inputs), [inputs.length]);
const { sigmoid, log, bySoftplus } = await session.run({ x });
inputs.forEach((input, i) => {
  const right = (1 / (1 + Math.exp(-input))).toExponential(2);
  const found = sigmoid.data[i] === 0 ? "0" : sigmoid.data[i].toExponential(2);
  const logs = `log ${log.data[i].toFixed(1)}, by Softplus ${bySoftplus.data[i].toFixed(1)}`;
  console.log(`${input}: sigmoid ${found} (right ${right}), ${logs}`);
});
JS
node check.mjs >seen
cat seen
cat >expected <<'TEXT'
-2: sigmoid 1.19e-1 (right 1.19e-1), log -2.1, by Softplus -2.1
-10: sigmoid 4.54e-5 (right 4.54e-5), log -10.0, by Softplus -10.0
-16: sigmoid 5.96e-8 (right 1.13e-7), log -16.6, by Softplus -16.0
-18: sigmoid 0 (right 1.52e-8), log -Infinity, by Softplus -18.0
-30: sigmoid 0 (right 9.36e-14), log -Infinity, by Softplus -30.0
TEXT
cmp -s seen expected || { echo "Changed: small results of Sigmoid in ONNX Runtime" >&2; exit 1; }
