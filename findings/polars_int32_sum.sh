#!/usr/bin/env bash
# Polars widens sums of 8 and 16 bits, and wraps those of 32: 100 times 100,000,000 is 1,410,065,408.
#
# Versions: npm nodejs-polars 0.26.1 (Linux, x86-64, glibc).
# Behaviour: sum() of Int8 and Int16 is computed in Int64; of Int32 it stays Int32 and wraps, alone,
# in a group and in a running sum. mean() of the same column is right.
# A good engineer would guess: after the small types, which would overflow first, Int32 is widened as
# well, as in numpy, pandas, DuckDB and PyTorch; or none is.
# Output seen: Int8 10000, Int16 3000000, Int32 1410065408 for 10000000000, Int64 right; mean
# 100000000.
# Why it matters: counts of tokens and bytes are 32-bit columns of Parquet files. Totals of a corpus
# are wrong beyond 2,147,483,647 tokens, often still positive, and the mean beside them is right.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm install --prefix "$work" --loglevel=error --no-audit --no-fund --ignore-scripts \
  nodejs-polars@0.26.1 nodejs-polars-linux-x64-gnu@0.26.1 >/dev/null
cat >check.mjs <<'JS'
import pl from "nodejs-polars";
const cases = [[pl.Int8, 100], [pl.Int16, 30_000], [pl.Int32, 100_000_000], [pl.UInt32, 100_000_000],
  [pl.Int64, 100_000_000]];
for (const [type, value] of cases) {
  const series = pl.Series("tokens", new Array(100).fill(value), type);
  const table = pl.DataFrame({ tokens: series, run: new Array(100).fill(1) });
  const grouped = table.groupBy("run").agg(pl.col("tokens").sum()).toRecords()[0].tokens;
  const running = series.cumSum().toArray()[99];
  console.log(
    `${series.dtype} 100 times ${value}: sum ${series.sum()}, in a group ${grouped}, running ${running}, ` +
      `mean ${series.mean()}`,
  );
}
JS
node check.mjs >seen
cat seen
cat >expected <<'TEXT'
DataType(Int8) 100 times 100: sum 10000, in a group 10000, running 10000, mean 100
DataType(Int16) 100 times 30000: sum 3000000, in a group 3000000, running 3000000, mean 30000
DataType(Int32) 100 times 100000000: sum 1410065408, in a group 1410065408, running 1410065408, mean 100000000
DataType(UInt32) 100 times 100000000: sum 1410065408, in a group 1410065408, running 1410065408, mean 100000000
DataType(Int64) 100 times 100000000: sum 10000000000, in a group 10000000000, running 10000000000, mean 100000000
TEXT
cmp -s seen expected || { echo "Changed: sums of small integers in Polars" >&2; exit 1; }
