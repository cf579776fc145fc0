#!/usr/bin/env bash
# hyparquet reads the exact decimal 0.35 as 0.35000000000000003, while 64-bit integers stay exact.
#
# Versions: npm hyparquet 1.31.5, file written by npm @duckdb/node-api 1.5.6-r.1.
# Behaviour: a DECIMAL is its integer times 10 ** -scale in floating point, where 10 ** -scale is
# inexact. Ten of the 99 two-digit fractions are off the nearest number, and 18 digits lose their
# end although a bigint holds them.
# A good engineer would guess: a decimal comes as a string or bigint, as INT64 comes as a bigint,
# or at least as the number that one would write: Number("0.35").
# Output seen: 10 of 99 differ, the first is 0.35000000000000003; 99999999999999.99 reads
# 100000000000000.
# Why it matters: scores and thresholds are kept as decimals so that 0.35 is 0.35. A join or a
# filter on the threshold misses rows, and a table that is written again differs from its source.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm install --prefix "$work" --loglevel=error --no-audit --no-fund --ignore-scripts \
  hyparquet@1.31.5 @duckdb/node-api@1.5.6-r.1 >/dev/null
cat >check.mjs <<'JS'
import { DuckDBInstance } from "@duckdb/node-api";
import { asyncBufferFromFile, parquetReadObjects } from "hyparquet";
const connection = await (await DuckDBInstance.create(":memory:")).connect();
async function read(query) {
  await connection.run(`COPY (${query}) TO 'x.parquet' (FORMAT parquet, COMPRESSION uncompressed)`);
  const rows = await parquetReadObjects({ file: await asyncBufferFromFile("x.parquet") });
  return rows.map(({ v, text }) => ({ v, text }));
}
const rows = await read("SELECT d AS v, d::VARCHAR AS text FROM " +
  "(SELECT (i / 100.0)::DECIMAL(4, 2) AS d FROM range(1, 100) t(i))");
const off = rows.filter(({ v, text }) => v !== Number(text));
console.log(`${off.length} of ${rows.length} differ, the first is ${off[0]?.text} as ${off[0]?.v}`);
for (const type of ["DECIMAL(16, 2)", "BIGINT"]) {
  const value = type === "BIGINT" ? "9999999999999999" : "99999999999999.99";
  const [{ v, text }] = await read(`SELECT ${value}::${type} AS v, v::VARCHAR AS text`);
  console.log(`${type} ${text} as ${typeof v} ${v}`);
}
JS
node check.mjs >seen
cat seen
cat >expected <<'TEXT'
10 of 99 differ, the first is 0.35 as 0.35000000000000003
DECIMAL(16, 2) 99999999999999.99 as number 100000000000000
BIGINT 9999999999999999 as bigint 9999999999999999
TEXT
cmp -s seen expected || { echo "Changed: how hyparquet reads decimals" >&2; exit 1; }
