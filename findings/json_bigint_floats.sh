#!/usr/bin/env bash
# json-bigint makes an object of 0.30000000000000004, and the sum of such scores is a text.
#
# Versions: npm json-bigint 1.0.0.
# Behaviour: a number of more than 15 characters, counted with its point, sign and exponent, becomes a
# BigNumber; a shorter one a number. With useNativeBigInt BigInt() is called on it, which throws.
# A good engineer would guess: integers beyond 2^53 are treated in another way, as the name says, and a
# number with a point stays a number.
# Output seen: 0.1 is a number, 0.30000000000000004 and -0.12345678901234567 are objects;
# 0.1 + 0.30000000000000004 is "0.10.30000000000000004", and a mean of three is NaN; useNativeBigInt
# raises "Cannot convert".
# Why it matters: it is installed for 64-bit ids beside the scores. Log-probabilities of 64 bits have 16 or
# more digits nearly always and a round score few, so that it depends on the sample whether a mean is a
# number, a text or NaN; comparisons still work.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm install --prefix "$work" --loglevel=error --no-audit --no-fund --ignore-scripts \
  json-bigint@1.0.0 >/dev/null
cat >check.cjs <<'JS'
const JSONbig = require("json-bigint");
const text = '{"short":0.1,"long":0.30000000000000004,"log":-0.12345678901234567,"id":1234567890123456789}';
const read = JSONbig.parse(text);
for (const [key, value] of Object.entries(read)) console.log(key, typeof value);
const sum = [read.short, read.long].reduce((a, b) => a + b);
console.log("sum", typeof sum, sum);
console.log("mean", ([0.1, 0.3, 0.2].map((x) => JSONbig.parse(JSON.stringify(x + 0.1)))
  .reduce((a, b) => a + b, 0)) / 3);
console.log("above 0.2", read.long > 0.2);
try {
  console.log("native", typeof JSONbig({ useNativeBigInt: true }).parse(text).long);
} catch (error) {
  console.log("native", error.message);
}
JS
node check.cjs >seen
cat seen
cat >expected <<'TEXT'
short number
long object
log object
id object
sum string 0.10.30000000000000004
mean NaN
above 0.2 true
native Cannot convert 0.30000000000000004 to a BigInt
TEXT
cmp -s seen expected || { echo "Changed: numbers with a point in json-bigint" >&2; exit 1; }
