#!/usr/bin/env bash
# 2.5 cast to an integer is 3 in DuckDB if it is a decimal or a text, and 2 if it is a double.
#
# Versions: npm @duckdb/node-api 1.5.6-r.1.
# Behaviour: a literal with a point is a DECIMAL, and decimals and texts round halves away from 0.
# FLOAT and DOUBLE, also from JSON, round halves to even. round() goes away from 0 for both.
# A good engineer would guess: one rule per cast: cut off (C, JavaScript, Python), or round
# (PostgreSQL), whatever type the half comes in.
# Output seen: 0.5 1.5 2.5 3.5 become 1 2 3 4 as decimals and as texts, 0 2 2 4 as doubles from JSON
# lines.
# Why it matters: scores times 10 cast to INTEGER are the buckets of a histogram, and lengths divided
# by a block those of a table. A query tried on literals counts other rows than on the file.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm install --prefix "$work" --loglevel=error --no-audit --no-fund --ignore-scripts \
  @duckdb/node-api@1.5.6-r.1 >/dev/null
for x in 0.5 1.5 2.5 3.5; do echo "{\"x\": $x}"; done >samples.jsonl
cat >check.mjs <<'JS'
import { DuckDBInstance } from "@duckdb/node-api";
const connection = await (await DuckDBInstance.create()).connect();
async function column(name, query) {
  const rows = (await connection.runAndReadAll(query)).getRowsJson();
  console.log(`${name}: ${rows.flat().join(" ")}`);
}
const values = (cast) => `SELECT ${cast} FROM (VALUES (0.5), (1.5), (2.5), (3.5)) t(x)`;
await column("decimals", values("x::INTEGER"));
await column("texts", values("x::VARCHAR::INTEGER"));
await column("doubles", values("x::DOUBLE::INTEGER"));
await column("JSON lines", "SELECT x::INTEGER FROM 'samples.jsonl'");
await column("JSON lines by round()", "SELECT round(x)::INTEGER FROM 'samples.jsonl'");
JS
node check.mjs >seen
cat seen
cat >expected <<'TEXT'
decimals: 1 2 3 4
texts: 1 2 3 4
doubles: 0 2 2 4
JSON lines: 0 2 2 4
JSON lines by round(): 1 2 3 4
TEXT
cmp -s seen expected || { echo "Changed: casts to integers in DuckDB" >&2; exit 1; }
