#!/usr/bin/env bash
# DuckDB's reservoir_quantile() looks at the first rows only: the median of 0 to 1,000,000 is 4095.
#
# Versions: npm @duckdb/node-api 1.5.6-r.1.
# Behaviour: the sample of 8,192 values is filled with the first rows, and later ones hardly replace
# any. In sorted order the median of a million is that of the first 8,192, and the largest is 8191. A
# shuffled table gives about the right answer.
# A good engineer would guess: a reservoir sample is uniform over the rows in whatever order they
# come; that is what a reservoir is for.
# Output seen: median 4095 and maximum 8191 of 0..1,000,000 in order; approx_quantile 500,000.
# Why it matters: latencies are logged in order of time and lengths of prompts in order of size. The
# percentile of a run is that of its warm-up, and does not move however long the run is.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm install --prefix "$work" --loglevel=error --no-audit --no-fund --ignore-scripts \
  @duckdb/node-api@1.5.6-r.1 >/dev/null
cat >check.mjs <<'JS'
import { DuckDBInstance } from "@duckdb/node-api";
const connection = await (await DuckDBInstance.create(":memory:")).connect();
await connection.run("SET threads = 1");
const ask = async (text) => (await connection.runAndReadAll(text)).getRows().flat().map(String);
for (const rows of [5_000, 100_001, 1_000_001]) {
  for (const quantile of [0.5, 1]) {
    const [found, other, right] = await ask(
      `SELECT reservoir_quantile(i, ${quantile}), approx_quantile(i, ${quantile}), ` +
        `quantile_cont(i, ${quantile}) FROM range(${rows}) t(i)`,
    );
    const early = Number(found) < 8192 ? "below 8192" : "8192 or more";
    const far = Math.abs(Number(found) - Number(right)) > 0.1 * rows ? "WRONG" : "near";
    console.log(`${quantile} of 0 to ${rows - 1}: ${early}, ${far}; approx_quantile ${
      Math.abs(Number(other) - Number(right)) > 0.1 * rows ? "WRONG" : "near"}`);
  }
}
const shuffled = await ask(
  "SELECT abs(reservoir_quantile(i, 0.5) - 500000) < 50000 FROM " +
    "(SELECT i FROM range(1000001) t(i) ORDER BY hash(i))",
);
console.log(`of 1000001 shuffled: ${shuffled[0] === "true" ? "near" : "WRONG"}`);
JS
node check.mjs >seen
cat seen
cat >expected <<'TEXT'
0.5 of 0 to 4999: below 8192, near; approx_quantile near
1 of 0 to 4999: below 8192, near; approx_quantile near
0.5 of 0 to 100000: below 8192, WRONG; approx_quantile near
1 of 0 to 100000: below 8192, WRONG; approx_quantile near
0.5 of 0 to 1000000: below 8192, WRONG; approx_quantile near
1 of 0 to 1000000: below 8192, WRONG; approx_quantile near
of 1000001 shuffled: near
TEXT
cmp -s seen expected || { echo "Changed: what reservoir_quantile of DuckDB looks at" >&2; exit 1; }
