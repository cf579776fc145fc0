#!/usr/bin/env bash
# A column of number lists written by hyparquet-writer is JSON text to everybody but hyparquet.
#
# Versions: npm hyparquet-writer 0.17.0, hyparquet 1.31.5, @duckdb/node-api 1.5.6-r.1.
# Behaviour: without a schema a column of arrays becomes one of JSON text, whose logical type makes
# hyparquet parse it again. A round trip through the two packages shows arrays on both sides.
# A good engineer would guess: arrays become Parquet's LIST, which the format has for them, as
# numbers become INT32 or DOUBLE by looking at the values.
# Output seen: hyparquet reads [1,2], DuckDB says JSON and that its length is 5, the characters.
# Why it matters: token ids of long samples are such a column. Another reader gets a string, and
# `len(ids)` counts characters, which is a plausible number of tokens.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm install --prefix "$work" --loglevel=error --no-audit --no-fund --ignore-scripts \
  hyparquet@1.31.5 hyparquet-writer@0.17.0 @duckdb/node-api@1.5.6-r.1 >/dev/null
cat >check.mjs <<'JS'
import { writeFileSync } from "node:fs";
import { DuckDBInstance } from "@duckdb/node-api";
import { parquetReadObjects } from "hyparquet";
import { parquetWriteBuffer } from "hyparquet-writer";
const file = parquetWriteBuffer({ columnData: [{ name: "ids", data: [[1, 2], [3]] }] });
writeFileSync("x.parquet", new Uint8Array(file));
console.log("hyparquet:", JSON.stringify((await parquetReadObjects({ file }))[0].ids));
const connection = await (await DuckDBInstance.create(":memory:")).connect();
const query = "SELECT typeof(ids), len(ids)::INT FROM 'x.parquet' LIMIT 1";
const [row] = (await connection.runAndReadAll(query)).getRows();
console.log("duckdb:", row.join(" of length "));
JS
node check.mjs >seen
cat seen
cat >expected <<'TEXT'
hyparquet: [1,2]
duckdb: JSON of length 5
TEXT
cmp -s seen expected || { echo "Changed: how hyparquet-writer writes lists" >&2; exit 1; }
