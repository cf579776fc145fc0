#!/usr/bin/env bash
# toArray() of an Arrow Float16 vector gives bit patterns: 1 is 15360, and 0.5 is 14336.
#
# Versions: npm apache-arrow 21.2.0.
# Behaviour: toArray() is a Uint16Array with the bits of each half, while get() and iteration give
# numbers. Float32 and Float64 vectors give numbers in both ways, so that the same code is right
# for them. 64-bit integers come as BigInt64Array in all ways.
# A good engineer would guess: toArray() has the values of the vector, as for every other number
# type, in a Float32Array or in a Float16Array where the engine has one.
# Output seen: Float16 toArray 15360,14336,49152 for 1, 0.5, -2; get() and Float32 give 1,0.5,-2.
# Why it matters: embeddings and logits of language models are stored as halves to save space.
# Their dot products and maxima become plausible integers, and the order of negative values is
# reversed.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm install --prefix "$work" --loglevel=error --no-audit --no-fund --ignore-scripts \
  apache-arrow@21.2.0 >/dev/null
cat >check.mjs <<'JS'
import { Float16, Float32, vectorFromArray } from "apache-arrow";
for (const type of [new Float16(), new Float32()]) {
  const vector = vectorFromArray([1, 0.5, -2], type);
  const array = vector.toArray();
  console.log(`${type} ${array.constructor.name} ${array.join()} get ${[...vector].join()}`);
}
JS
node check.mjs >seen
cat seen
cat >expected <<'TEXT'
Float16 Uint16Array 15360,14336,49152 get 1,0.5,-2
Float32 Float32Array 1,0.5,-2 get 1,0.5,-2
TEXT
cmp -s seen expected || { echo "Changed: halves in toArray() of Apache Arrow" >&2; exit 1; }
