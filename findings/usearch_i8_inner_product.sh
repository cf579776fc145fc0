#!/usr/bin/env bash
# In 8 bits usearch ranks by direction: a vector with an inner product of 100 comes behind one with 1.
#
# Versions: npm usearch 2.25.3.
# Behaviour: with quantization "i8" each vector is divided by its own length and stored as up to 127. For
# inner product and distance alike the lengths are gone; f32 and f16 keep them. Distances are in units of
# 127 squared.
# A good engineer would guess: 8 bits are a coarse form of the numbers given, or refuse numbers above 1; the
# order of results is nearly the same.
# Output seen: against [1, 0, 0, 0], [100, 1, 0, 0] comes before [1, 0, 0, 0] by inner product in f32 and f16,
# and behind it in i8; by squared distance [1, 0, 0, 0] and [9, 0, 0, 0] are 64 apart in f32 and 0 in i8.
# Why it matters: keys of a cache and embeddings trained for inner product say by their length how much they
# matter. An index of a quarter of the size is another model of relevance, which looks like a loss by
# rounding.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm install --prefix "$work" --loglevel=error --no-audit --no-fund --ignore-scripts \
  usearch@2.25.3 >/dev/null
cat >check.cjs <<'JS'
const { Index } = require("usearch");
const stored = { one: [1, 0, 0, 0], long: [100, 1, 0, 0], nine: [9, 0, 0, 0] };
const search = (metric, quantization, names) => {
  const index = new Index({ metric, quantization, dimensions: 4 });
  names.forEach((name, i) => index.add(BigInt(i), new Float32Array(stored[name])));
  const { keys, distances } = index.search(new Float32Array([1, 0, 0, 0]), names.length, 0);
  return [...keys].map((key, i) => [names[Number(key)], distances[i]]);
};
for (const quantization of ["f32", "f16", "i8"]) {
  const order = search("ip", quantization, ["one", "long"]).map(([name]) => name).join(", ");
  const far = Object.fromEntries(search("l2sq", quantization, ["one", "nine"])).nine;
  console.log(`${quantization}: by inner product ${order}; distance of nine ${far}`);
}
JS
node check.cjs >seen
cat seen
cat >expected <<'TEXT'
f32: by inner product long, one; distance of nine 64
f16: by inner product long, one; distance of nine 64
i8: by inner product one, long; distance of nine 0
TEXT
cmp -s seen expected || { echo "Changed: lengths of vectors in usearch's 8 bits" >&2; exit 1; }
