#!/usr/bin/env bash
# On TensorFlow.js's CPU back end all rows of a batch draw the same tokens from multinomial().
#
# Versions: npm @tensorflow/tfjs-core, -backend-cpu and -backend-wasm 4.22.0.
# Behaviour: each row begins with a new generator of the one seed of the call, given or not. Rows of equal
# probabilities draw equal tokens, and unequal ones are drawn by the same random numbers. WebAssembly goes on
# with one generator.
# A good engineer would guess: rows are independent samples, as in TensorFlow and PyTorch; a seed makes them
# repeatable.
# Output seen: three rows of 1,000 equal logits draw the same 20 numbers, with a seed and without; two calls
# without a seed differ. On WebAssembly the rows are three different ones.
# Why it matters: n samples of a prompt are n rows of one batch. They are n copies, so that pass@k is pass@1,
# diversity is 0 and error bars are too small; different prompts are correlated.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm install --prefix "$work" --loglevel=error --no-audit --no-fund --ignore-scripts \
  @tensorflow/tfjs-core@4.22.0 @tensorflow/tfjs-backend-cpu@4.22.0 @tensorflow/tfjs-backend-wasm@4.22.0 >/dev/null
cat >check.mjs <<'JS'
import { createRequire } from "node:module";
import { dirname } from "node:path";
import * as tf from "@tensorflow/tfjs-core";
import "@tensorflow/tfjs-backend-cpu";
import { setWasmPaths } from "@tensorflow/tfjs-backend-wasm";
tf.env().set("IS_TEST", true);
setWasmPaths(dirname(createRequire(import.meta.url).resolve("@tensorflow/tfjs-backend-wasm")) + "/");
for (const backend of ["cpu", "wasm"]) {
  await tf.setBackend(backend);
  for (const seed of [undefined, 7]) {
    const draws = () => tf.multinomial(tf.zeros([3, 1000]), 20, seed).arraySync().map(String);
    const [first, second] = [draws(), draws()];
    const equal = first[0] === second[0];
    console.log(`${backend}, seed ${seed}: ${new Set(first).size} different rows of 3, calls equal ${equal}`);
  }
}
JS
node check.mjs >seen
cat seen
cat >expected <<'TEXT'
cpu, seed undefined: 1 different rows of 3, calls equal false
cpu, seed 7: 1 different rows of 3, calls equal true
wasm, seed undefined: 3 different rows of 3, calls equal false
wasm, seed 7: 3 different rows of 3, calls equal true
TEXT
cmp -s seen expected || { echo "Changed: rows of multinomial() in TensorFlow.js" >&2; exit 1; }
