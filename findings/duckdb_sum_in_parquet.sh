#!/usr/bin/env bash
# DuckDB's sum() of integers is exact until it is copied to Parquet, where it is a DOUBLE.
#
# Versions: npm @duckdb/node-api 1.5.6-r.1, read by npm hyparquet 1.31.5 as well.
# Behaviour: sum() of any integer type is a HUGEINT of 128 bits. Parquet has no such type, and COPY
# writes DOUBLE without a warning; count(*) beside it stays a 64-bit integer. Values above 2^53
# lose digits, small ones change their type.
# A good engineer would guess: the sum of integers is stored as an integer, or COPY refuses what
# the format cannot hold.
# Output seen: HUGEINT 9007199254740993 comes back as DOUBLE 9007199254740992; count(*) is a
# BIGINT.
# Why it matters: totals of tokens per model or run are sums over samples. The same table read by
# JavaScript has a bigint for the number of samples and a number for that of tokens, and arithmetic
# with both throws; so does code that was right as long as the totals were read from a query.
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
const ask = async (query) => (await connection.runAndReadAll(query)).getRows()[0].join(" ");
const sum = "SELECT sum(n) AS tokens, count(*) AS samples " +
  "FROM (VALUES (9007199254740992::BIGINT), (1::BIGINT)) t(n)";
const types = "typeof(tokens), tokens::DECIMAL(38, 0)::VARCHAR, typeof(samples), samples";
console.log("query:", await ask(`SELECT ${types} FROM (${sum})`));
await connection.run(`COPY (${sum}) TO 'x.parquet' (FORMAT parquet, COMPRESSION uncompressed)`);
console.log("parquet:", await ask(`SELECT ${types} FROM 'x.parquet'`));
const [row] = await parquetReadObjects({ file: await asyncBufferFromFile("x.parquet") });
console.log("javascript:", typeof row.tokens, row.tokens, typeof row.samples, String(row.samples));
JS
node check.mjs >seen
cat seen
cat >expected <<'TEXT'
query: HUGEINT 9007199254740993 BIGINT 2
parquet: DOUBLE 9007199254740992 BIGINT 2
javascript: number 9007199254740992 bigint 2
TEXT
cmp -s seen expected || { echo "Changed: DuckDB's sums in Parquet" >&2; exit 1; }
