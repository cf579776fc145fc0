#!/usr/bin/env bash
# In Polars 16,384 prompts of 131,072 tokens have -2,147,483,648 tokens together, and the right mean.
#
# Versions: npm nodejs-polars 0.26.1 (Linux, x86-64, glibc).
# Behaviour: sum() and cumSum() of 8 and 16 bits are made in 64 bits, those of 32 bits in 32, where they
# wrap around without a word; so does a product with itself. mean() is right.
# A good engineer would guess: a library that widens small integers for a sum widens all of them, as
# numpy, DuckDB and Arrow do; or an overflow is an error.
# Output seen: Int16 becomes Int64 and Int32 stays Int32; the sum -2147483648, the mean 131072, the
# square of a length 0.
# Why it matters: lengths are 32-bit integers in what Arrow and Parquet writers make of token counts.
# Totals of a run, tokens per second and costs are wrong from 2^31 tokens on, which one task over long
# contexts reaches, and the number of attended pairs (length squared) from a length of 46,341 on.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm install --prefix "$work" --loglevel=error --no-audit --no-fund --ignore-scripts \
  nodejs-polars@0.26.1 nodejs-polars-linux-x64-gnu@0.26.1 >/dev/null
cat >check.mjs <<'JS'
import pl from "nodejs-polars";
const column = (type, count, value) =>
  pl.DataFrame({ n: pl.Series("n", new Array(count).fill(value), pl[type]) });
for (const type of ["Int8", "Int16", "Int32", "Int64"]) {
  const total = column(type, 2, 100).select(pl.col("n").sum());
  console.log(`sum of ${type} is ${String(total.dtypes[0])}`);
}
for (const type of ["Int32", "Int64"]) {
  const [found] = column(type, 16384, 131072).select(
    pl.col("n").sum().alias("sum"),
    pl.col("n").mean().alias("mean"),
    pl.col("n").cumSum().last().alias("last"),
    pl.col("n").mul(pl.col("n")).first().alias("square"),
  ).toRecords();
  console.log(type, ...Object.entries(found).map(([name, value]) => `${name} ${value}`));
}
JS
node check.mjs >seen
cat seen
cat >expected <<'TEXT'
sum of Int8 is DataType(Int64)
sum of Int16 is DataType(Int64)
sum of Int32 is DataType(Int32)
sum of Int64 is DataType(Int64)
Int32 sum -2147483648 mean 131072 last -2147483648 square 0
Int64 sum 2147483648 mean 131072 last 2147483648 square 17179869184
TEXT
cmp -s seen expected || { echo "Changed: sums of integers in Polars" >&2; exit 1; }
