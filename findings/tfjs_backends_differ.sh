#!/usr/bin/env bash
# In TensorFlow.js 0.5 as a boolean is true on the CPU back end and false on WebAssembly; NaN and
# overflow differ, too.
#
# Versions: npm @tensorflow/tfjs-core, -backend-cpu and -backend-wasm 4.22.0.
# Behaviour: WebAssembly casts to bool by way of an integer, and 2 stays 2. It clips NaN to 0, where
# the other back end keeps it, and log1p(1e-10) is 0. A product of int32 wraps there and is cut on the
# CPU; for pow() it is the other way round. On both argMax() passes over a NaN that max() and topk()
# of two put first.
# A good engineer would guess: back ends differ in speed and in last digits.
# Output seen: cast of 0.5: 1 and 0; clip of NaN: NaN and 0; product -2147483648 and 1241513984; 3 **
# 20 -808182895 and -2147483648; of 1 NaN 3 2 argMax 2, topk 1 and 2.
# Why it matters: a fractional attention mask hides all tokens on one back end, a NaN of a broken
# score is a good 0 there, and tests run in Node on the CPU while users have WebAssembly.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm install --prefix "$work" --loglevel=error --no-audit --no-fund --ignore-scripts \
  @tensorflow/tfjs-core@4.22.0 @tensorflow/tfjs-backend-cpu@4.22.0 \
  @tensorflow/tfjs-backend-wasm@4.22.0 >/dev/null
cat >check.mjs <<'JS'
import { createRequire } from "node:module";
import { dirname } from "node:path";
import * as tf from "@tensorflow/tfjs-core";
import "@tensorflow/tfjs-backend-cpu";
import { setWasmPaths } from "@tensorflow/tfjs-backend-wasm";
tf.env().set("IS_TEST", true);
setWasmPaths(dirname(createRequire(import.meta.url).resolve("@tensorflow/tfjs-backend-wasm")) + "/");
const numbers = (values, type = "float32") => tf.tensor1d(values, type);
const operations = {
  "cast 0.5 2 0 to bool": () => tf.cast(numbers([0.5, 2, 0]), "bool"),
  "clip NaN and 3 to 0..1": () => tf.clipByValue(numbers([NaN, 3]), 0, 1),
  "log1p 1e-10": () => tf.log1p(numbers([1e-10])),
  "product of 5 times 100000": () => tf.prod(tf.fill([5], 100_000, "int32")),
  "3 ** 20 of int32": () => tf.pow(numbers([3], "int32"), numbers([20], "int32")),
  "max of 1 NaN 3 2": () => tf.max(numbers([1, NaN, 3, 2])),
  "topk places of it": () => tf.topk(numbers([1, NaN, 3, 2]), 2).indices,
  "argMax of it": () => tf.argMax(numbers([1, NaN, 3, 2])),
};
for (const backend of ["cpu", "wasm"]) {
  await tf.setBackend(backend);
  await tf.ready();
  for (const [name, operation] of Object.entries(operations)) {
    const found = [...operation().dataSync()].map((value) => Number(value.toPrecision(10)));
    console.log(`${tf.getBackend()}: ${name}: ${found.join(" ")}`);
  }
}
JS
node check.mjs >seen
cat seen
cat >expected <<'TEXT'
cpu: cast 0.5 2 0 to bool: 1 1 0
cpu: clip NaN and 3 to 0..1: NaN 1
cpu: log1p 1e-10: 1.000000013e-10
cpu: product of 5 times 100000: -2147483648
cpu: 3 ** 20 of int32: -808182895
cpu: max of 1 NaN 3 2: NaN
cpu: topk places of it: 1 2
cpu: argMax of it: 2
wasm: cast 0.5 2 0 to bool: 0 2 0
wasm: clip NaN and 3 to 0..1: 0 1
wasm: log1p 1e-10: 0
wasm: product of 5 times 100000: 1241513984
wasm: 3 ** 20 of int32: -2147483648
wasm: max of 1 NaN 3 2: NaN
wasm: topk places of it: 1 2
wasm: argMax of it: 2
TEXT
cmp -s seen expected || { echo "Changed: what the back ends of TensorFlow.js compute" >&2; exit 1; }
