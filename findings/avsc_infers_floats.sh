#!/usr/bin/env bash
# avsc infers 32 bits for JavaScript's numbers: of 3,000,000,001 tokens comes back 3,000,000,000.
#
# Versions: npm avsc 5.7.9.
# Behaviour: Type.forValue() makes int of whole numbers below 2^31 and float, of 32 bits, of all others,
# whole or not. Neither long nor double is inferred, and writing rounds without a word.
# A good engineer would guess: the type that is made for a value holds that value: double, which JavaScript's
# numbers are, and long for whole ones.
# Output seen: 0.1 comes back as 0.10000000149011612, 3000000001 as 3000000000, a table of 4096 and 3000000001
# tokens has a float column; 0.5 and 4096 are exact; a number above 2^31 in an int type raises.
# Why it matters: results and offsets of a run are written to Avro for a pipeline. Scores do not equal those
# of the JSON beside them, offsets into files of gigabytes move by up to 128 or more, and a schema that was
# inferred from small numbers raises at the first large one.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm install --prefix "$work" --loglevel=error --no-audit --no-fund --ignore-scripts \
  avsc@5.7.9 >/dev/null
cat >check.cjs <<'JS'
const avro = require("avsc");
for (const value of [0.5, 0.1, 4096, 3000000001, 2 ** 31 - 1, 2 ** 40 + 1]) {
  const type = avro.Type.forValue(value);
  console.log(`${value}: ${type.typeName}, back ${type.fromBuffer(type.toBuffer(value))}`);
}
const rows = [{ tokens: 4096, score: 1 }, { tokens: 3000000001, score: 0.1 }];
const type = avro.Type.forValue(rows);
console.log("table:", JSON.stringify(type.fromBuffer(type.toBuffer(rows))));
try {
  avro.Type.forValue(4096).toBuffer(3000000001);
} catch {
  console.log("3000000001 in the type of 4096: an error");
}
JS
node check.cjs >seen
cat seen
cat >expected <<'TEXT'
0.5: float, back 0.5
0.1: float, back 0.10000000149011612
4096: int, back 4096
3000000001: float, back 3000000000
2147483647: int, back 2147483647
1099511627777: float, back 1099511627776
table: [{"tokens":4096,"score":1},{"tokens":3000000000,"score":0.10000000149011612}]
3000000001 in the type of 4096: an error
TEXT
cmp -s seen expected || { echo "Changed: types that avsc infers for numbers" >&2; exit 1; }
