#!/usr/bin/env bash
# Tensor.to() of transformers.js makes 0 of 0.5 in float16, and false in bool.
#
# Versions: npm @huggingface/transformers 4.3.2 on node 20.20, which has no Float16Array (the script
# takes it away from newer ones).
# Behaviour: elements are stored as they are in an array of 16-bit or 8-bit integers. As bits of a
# half, 1 is 6e-8, and what is below 1 is 0. In bool, 0.5 is false. Sums and means stay in 8 bits as
# well: the mean of the bytes 200 and 201 is 72. On a JavaScript with Float16Array the halves are
# right.
# A good engineer would guess: to("float16") converts, as its sibling in PyTorch does; what is not 0
# is true; a mean lies between its numbers.
# Output seen: 0.5 1 1.5 70000 as bits 0 1 1 4464 instead of 14336 15360 15872 31744; bool 0 1 1 of
# 0.5 1 1.5; mean 72.
# Why it matters: models with inputs of f16 are fed by to("float16"): embeddings and masks are all
# zero, nothing is raised, and the same code is right in Deno 2.9 and other newest engines.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm install --prefix "$work" --loglevel=error --no-audit --no-fund --ignore-scripts \
  @huggingface/transformers@4.3.2 >/dev/null
cat >check.mjs <<'JS'
delete globalThis.Float16Array;
const { mean, Tensor } = await import("@huggingface/transformers");
const bits = (type, numbers) => {
  const { data } = new Tensor("float32", Float32Array.from(numbers), [numbers.length]).to(type);
  return `${data.constructor.name} ${data.join(" ")}`;
};
console.log("float16 of 0.5 1 1.5 70000:", bits("float16", [0.5, 1, 1.5, 70000]));
console.log("bool of 0 0.5 1 1.5:", bits("bool", [0, 0.5, 1, 1.5]));
const bytes = new Tensor("uint8", Uint8Array.of(200, 201), [1, 2]);
console.log("mean of the bytes 200 and 201:", mean(bytes, 1).data.join(" "));
JS
node check.mjs >seen
cat seen
cat >expected <<'TEXT'
float16 of 0.5 1 1.5 70000: Uint16Array 0 1 1 4464
bool of 0 0.5 1 1.5: Uint8Array 0 0 1 1
mean of the bytes 200 and 201: 72
TEXT
cmp -s seen expected || { echo "Changed: conversions of transformers.js' tensors" >&2; exit 1; }
