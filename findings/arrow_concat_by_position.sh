#!/usr/bin/env bash
# concat() of two Arrow tables with the columns x, y and y, x puts the second one's y under x.
#
# Versions: npm apache-arrow 21.2.0.
# Behaviour: columns are joined by their place, whatever their names; the names are those of the first table.
# A column that only the second one has at its end is dropped. Nothing is raised.
# A good engineer would guess: columns are matched by name, or tables of other schemas are refused, as in
# Python.
# Output seen: { score: 30, tokens: 3 } of a row { tokens: 30, score: 3 }; a column `failed` of the second
# table is gone.
# Why it matters: ranks and runs write tables of the same columns, in the order their objects had. Joined,
# scores and token counts change places from some row on, both being numbers, and means are of a mixture.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm install --prefix "$work" --loglevel=error --no-audit --no-fund --ignore-scripts \
  apache-arrow@21.2.0 >/dev/null
cat >check.mjs <<'JS'
import { tableFromArrays } from "apache-arrow";
const first = tableFromArrays({ score: new Int32Array([1, 2]), tokens: new Int32Array([10, 20]) });
const swapped = tableFromArrays({ tokens: new Int32Array([30]), score: new Int32Array([3]) });
const more = tableFromArrays({
  score: new Int32Array([4]), tokens: new Int32Array([40]), failed: new Int32Array([1]),
});
for (const [name, other] of [["swapped", swapped], ["more", more]]) {
  console.log(`${name} alone: ${JSON.stringify(other.get(0))}`);
  console.log(`${name} behind: ${JSON.stringify(first.concat(other).get(2))}`);
}
JS
node check.mjs >seen
cat seen
cat >expected <<'TEXT'
swapped alone: {"tokens":30,"score":3}
swapped behind: {"score":30,"tokens":3}
more alone: {"score":4,"tokens":40,"failed":1}
more behind: {"score":4,"tokens":40}
TEXT
cmp -s seen expected || { echo "Changed: columns of concatenated Arrow tables" >&2; exit 1; }
