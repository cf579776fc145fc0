#!/usr/bin/env bash
# In nodejs-polars get() of a 64-bit column returns the low 32 bits, and bigints of an Int64 column
# are null.
#
# Versions: npm nodejs-polars 0.26.1 (Linux, x86-64, glibc).
# Behaviour: Series.get() of Int64 cuts to 32 bits, with a sign; toArray(), toRecords() and sum() of
# the same series are right, and so is UInt64, by bigints. A Series of bigints is UInt64 if nothing is
# said and all null as Int64; a Series of numbers is all null as UInt64.
# A good engineer would guess: get(i) is toArray()[i]; 64 bits are bigints, or numbers while they fit;
# bigints are what an Int64 column takes best.
# Output seen: 10000000000 by get() 1410065408, by toArray() 10000000000; [5n] as Int64 null, as
# UInt64 5.
# Why it matters: token counts, offsets into corpora and times in nanoseconds are 64-bit. The last
# entry of a running sum is read by get(), and is plausible and wrong; small test data is right.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm install --prefix "$work" --loglevel=error --no-audit --no-fund --ignore-scripts \
  nodejs-polars@0.26.1 nodejs-polars-linux-x64-gnu@0.26.1 >/dev/null
cat >check.mjs <<'JS'
import pl from "nodejs-polars";
const cases = [[pl.Int64, [5, 2_147_483_648, 10_000_000_000]], [pl.UInt64, [5n, 10_000_000_000n]]];
for (const [type, values] of cases) {
  const series = pl.Series("x", values, type);
  const records = pl.DataFrame({ x: series }).toRecords().map(({ x }) => x);
  console.log(
    `${series.dtype}: get ${values.map((_, i) => series.get(i)).join(" ")}, ` +
      `toArray ${series.toArray().join(" ")}, toRecords ${records.join(" ")}, sum ${series.sum()}`,
  );
}
for (const [name, type] of [["nothing said", undefined], ["UInt64", pl.UInt64], ["Int64", pl.Int64]]) {
  const series = pl.Series("x", [5n, 6n], type);
  console.log(`bigints, ${name}: ${series.dtype}, ${series.toArray().map(String).join(" ")}`);
}
console.log("numbers, UInt64:", pl.Series("x", [5, 6], pl.UInt64).toArray().map(String).join(" "));
JS
node check.mjs >seen
cat seen
cat >expected <<'TEXT'
DataType(Int64): get 5 -2147483648 1410065408, toArray 5 2147483648 10000000000, toRecords 5 2147483648 10000000000, sum 12147483653
DataType(UInt64): get 5 10000000000, toArray 5 10000000000, toRecords 5 10000000000, sum 10000000005
bigints, nothing said: DataType(UInt64), 5 6
bigints, UInt64: DataType(UInt64), 5 6
bigints, Int64: DataType(Int64), null null
numbers, UInt64: null null
TEXT
cmp -s seen expected || { echo "Changed: 64-bit integers in Series of Polars" >&2; exit 1; }
