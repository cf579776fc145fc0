#!/usr/bin/env bash
# A NaN score passes the filter "score > 0.5" in DuckDB and in Polars; Polars' own max() denies it.
#
# Versions: npm @duckdb/node-api 1.5.6-r.1, npm nodejs-polars 0.26.1 (Linux, x86-64, glibc).
# Behaviour: both order NaN above every number, comparisons included. In Polars max() leaves NaN out,
# so that rows exist which are greater than the largest. In DuckDB avg() gives NaN, and stddev() of
# the same column ends the query with an error.
# A good engineer would guess: a comparison with NaN is false, as in IEEE 754, JavaScript and pandas,
# and no row is above max().
# Output seen: of 1, NaN and 0 the filter keeps 1 and NaN in both; above max() Polars finds NaN.
# Why it matters: a sample whose score could not be computed counts as passed ("share above 0.5" rises
# with every failure), and the same table gives another share when it is read with pandas.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm install --prefix "$work" --loglevel=error --no-audit --no-fund --ignore-scripts \
  @duckdb/node-api@1.5.6-r.1 nodejs-polars@0.26.1 nodejs-polars-linux-x64-gnu@0.26.1 >/dev/null
cat >check.mjs <<'JS'
import { DuckDBInstance } from "@duckdb/node-api";
import pl from "nodejs-polars";
const connection = await (await DuckDBInstance.create(":memory:")).connect();
await connection.run("CREATE TABLE t AS FROM (VALUES (1::DOUBLE), ('NaN'), (0)) v(score)");
async function ask(question) {
  try {
    return (await connection.runAndReadAll(question)).getRows().flat().join(" ");
  } catch (error) {
    return error.message.split("\n")[0];
  }
}
console.log("DuckDB: above 0.5:", await ask("SELECT score FROM t WHERE score > 0.5"));
console.log("DuckDB: max, avg:", await ask("SELECT max(score), avg(score) FROM t"));
console.log("DuckDB: stddev:", await ask("SELECT stddev(score) FROM t"));
const score = pl.col("score");
const table = pl.DataFrame({ score: [1, NaN, 0] });
const rows = (condition) =>
  table.filter(condition).toRecords().map((row) => row.score).join(" ");
const max = table.select(score.max()).toRecords()[0].score;
console.log("Polars: above 0.5:", rows(score.gt(0.5)));
console.log(`Polars: max ${max}, above it:`, rows(score.gt(max)));
console.log("JavaScript: above 0.5:", [1, NaN, 0].filter((score) => score > 0.5).join(" "));
JS
node check.mjs >seen
cat seen
cat >expected <<'TEXT'
DuckDB: above 0.5: 1 NaN
DuckDB: max, avg: NaN NaN
DuckDB: stddev: Out of Range Error: STDDEV_SAMP is out of range!
Polars: above 0.5: 1 NaN
Polars: max 1, above it: NaN
JavaScript: above 0.5: 1
TEXT
cmp -s seen expected || { echo "Changed: NaN in filters of DuckDB or Polars" >&2; exit 1; }
