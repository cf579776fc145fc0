#!/usr/bin/env bash
# DuckDB's approx_count_distinct() is off by up to 39 %, and differently for each kind of value.
#
# Versions: npm @duckdb/node-api 1.5.6-r.1.
# Behaviour: HyperLogLog with few registers. The result is the same at each run, so that repeating it
# does not show the spread, and small counts are estimated as well.
# A good engineer would guess: 1 or 2 %, as in other engines, and exact counts below a few hundred.
# Output seen: 2,000 texts are 1,748 and 100,000 are 139,028; 1,000 integers are 1,249; 20 numbers are
# 18.
# Why it matters: documents of a corpus, prompts and answers are counted this way before and after
# deduplication; a third of the corpus seems to be copies, or to be gained.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm install --prefix "$work" --loglevel=error --no-audit --no-fund --ignore-scripts \
  @duckdb/node-api@1.5.6-r.1 >/dev/null
cat >check.mjs <<'JS'
import { DuckDBInstance } from "@duckdb/node-api";
const connection = await (await DuckDBInstance.create()).connect();
const kinds = { integers: "x", texts: "'prompt ' || x", numbers: "x * 0.37" };
for (const [kind, value] of Object.entries(kinds)) {
  for (const count of [20, 1000, 2000, 10_000, 100_000, 1_000_000]) {
    const query = `SELECT approx_count_distinct(${value}), count(DISTINCT ${value}) FROM range(${count}) t(x)`;
    const [[found, exact]] = (await connection.runAndReadAll(query)).getRows();
    const off = (100 * (Number(found) / Number(exact) - 1)).toFixed(1);
    console.log(`${exact} ${kind}: ${found}, ${off} %`);
  }
}
JS
node check.mjs | tee all | grep -E '^(20 numbers|1000 integers|2000 texts|100000 texts|1000000 numbers)' >seen
cat all
cat >expected <<'TEXT'
1000 integers: 1249, 24.9 %
2000 texts: 1748, -12.6 %
100000 texts: 139028, 39.0 %
20 numbers: 18, -10.0 %
1000000 numbers: 1244680, 24.5 %
TEXT
cmp -s seen expected || { echo "Changed: approx_count_distinct() of DuckDB" >&2; exit 1; }
