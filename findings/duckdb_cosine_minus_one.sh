#!/usr/bin/env bash
# Where a cosine similarity does not exist, DuckDB says -1: the opposite.
#
# Versions: npm @duckdb/node-api 1.5.6-r.1.
# Behaviour: a vector of zeros, one with a NaN, and a vector beside itself whose squares do not fit
# into FLOAT, up or down, all have the similarity -1 and the distance 2. Dot product and distance of
# the same vector with a NaN are NaN.
# A good engineer would guess: NaN or NULL, as for the dot product; 0 perhaps; and 1 for equal
# vectors.
# Output seen: -1 for zeros, for NaN, and for [1e30, 1] and [1e-30, 1e-30] beside themselves; 1 in
# DOUBLE.
# Why it matters: a failed or empty chunk of a document is then no error and no missing value, but the
# surest "unlike": filters on NaN and NULL pass it, averages of similarity sink, and a search for the
# most distant passage finds it first.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm install --prefix "$work" --loglevel=error --no-audit --no-fund --ignore-scripts \
  @duckdb/node-api@1.5.6-r.1 >/dev/null
cat >check.mjs <<'JS'
import { DuckDBInstance } from "@duckdb/node-api";
const connection = await (await DuckDBInstance.create()).connect();
async function say(name, a, b, type = "FLOAT") {
  const pair = `${a}::${type}[2], ${b}::${type}[2]`;
  const functions = ["array_cosine_similarity", "array_cosine_distance", "array_inner_product"];
  const query = `SELECT ${functions.map((f) => `${f}(${pair})`).join(", ")}`;
  const [[similarity, distance, product]] = (await connection.runAndReadAll(query)).getRows();
  console.log(`${name}: similarity ${similarity}, distance ${distance}, dot product ${product}`);
}
await say("like vectors", "[1, 2]", "[2, 4]", "DOUBLE");
await say("zeros", "[0, 0]", "[1, 1]");
await say("a NaN", "['NaN'::FLOAT, 0]", "[1, 1]");
await say("[1e30, 1] beside itself", "[1e30, 1]", "[1e30, 1]");
await say("[1e-30, 1e-30] beside itself", "[1e-30, 1e-30]", "[1e-30, 1e-30]");
await say("[1e30, 1] in DOUBLE", "[1e30, 1]", "[1e30, 1]", "DOUBLE");
JS
node check.mjs >seen
cat seen
cat >expected <<'TEXT'
like vectors: similarity 1, distance 0, dot product 10
zeros: similarity -1, distance 2, dot product 0
a NaN: similarity -1, distance 2, dot product NaN
[1e30, 1] beside itself: similarity -1, distance 2, dot product Infinity
[1e-30, 1e-30] beside itself: similarity -1, distance 2, dot product 0
[1e30, 1] in DOUBLE: similarity 1, distance 0, dot product 1.0000000000000001e+60
TEXT
cmp -s seen expected || { echo "Changed: cosine similarity in DuckDB" >&2; exit 1; }
