#!/usr/bin/env bash
# DuckDB compares INTEGER with FLOAT in 24 bits: different integers equal one number, and a join makes
# pairs.
#
# Versions: npm @duckdb/node-api 1.5.6-r.1.
# Behaviour: beside a FLOAT an INTEGER or BIGINT is cast to FLOAT, not both to DOUBLE, for =, IN,
# joins and sums. 16,777,216 and 16,777,217 both equal 16777216::FLOAT. A decimal literal is cast as
# well: 0.1 equals 0.1::FLOAT, but 0.1::DOUBLE does not.
# A good engineer would guess: both go to DOUBLE, which holds every INTEGER and every FLOAT, as in
# other databases and numpy; two different integers never equal the same number.
# Output seen: three ids around 100,000,000 join 3 rows each, 9 in all; with DOUBLE 3.
# Why it matters: a column of token offsets that had gaps comes as FLOAT from tables and arrays. From
# 16,777,217 on, joins on it return rows several times, and counts and averages weigh them.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm install --prefix "$work" --loglevel=error --no-audit --no-fund --ignore-scripts \
  @duckdb/node-api@1.5.6-r.1 >/dev/null
cat >check.mjs <<'JS'
import { DuckDBInstance } from "@duckdb/node-api";
const connection = await (await DuckDBInstance.create(":memory:")).connect();
const ask = async (text) => (await connection.runAndReadAll(text)).getRows().flat().map(String);
const say = async (text) => console.log(`${text}: ${(await ask(`SELECT ${text}`)).join(" ")}`);
await say("16777217 = 16777216::FLOAT");
await say("16777217 = 16777216::DOUBLE");
await say("16777217 + 0::FLOAT");
await say("9007199254740993 = 9007199254740992::FLOAT");
await say("0.1 = 0.1::FLOAT");
await say("0.1::DOUBLE = 0.1::FLOAT");
for (const type of ["FLOAT", "DOUBLE"]) {
  const [rows, ids] = await ask(
    `SELECT count(*), count(DISTINCT a.id) FROM (SELECT 100000000 + i AS id FROM range(3) t(i)) a ` +
      `JOIN (SELECT (100000000 + i)::${type} AS id FROM range(3) t(i)) b ON a.id = b.id`,
  );
  console.log(`3 ids joined with 3 of type ${type}: ${rows} rows of ${ids} ids`);
}
JS
node check.mjs >seen
cat seen
cat >expected <<'TEXT'
16777217 = 16777216::FLOAT: true
16777217 = 16777216::DOUBLE: false
16777217 + 0::FLOAT: 16777216
9007199254740993 = 9007199254740992::FLOAT: true
0.1 = 0.1::FLOAT: true
0.1::DOUBLE = 0.1::FLOAT: false
3 ids joined with 3 of type FLOAT: 9 rows of 3 ids
3 ids joined with 3 of type DOUBLE: 3 rows of 3 ids
TEXT
cmp -s seen expected || { echo "Changed: how DuckDB compares integers with FLOAT" >&2; exit 1; }
