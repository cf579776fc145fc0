#!/usr/bin/env bash
# Polars leaves out a key of JSON lines that first comes after line 100, without an error.
#
# Versions: npm nodejs-polars 0.26.1 (Linux, x86-64, glibc).
# Behaviour: scanJson() makes the columns from the first 100 lines. A key that is in a later line only
# is no column at all. A number of another type in a later line is an error.
# A good engineer would guess: a key that does not fit is an error, as a value that does not fit is
# one here; or it becomes a column with nulls before it.
# Output seen: the key at line 100 gives the columns id, error; at line 101 id alone, with 200 rows;
# a fraction at line 101 an error.
# Why it matters: a run writes a line for each sample, with a field for what seldom happens: an error,
# a cut answer, a second try. If the first one comes late the table says that there were none, and
# sums by that field count every sample as good.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm install --prefix "$work" --loglevel=error --no-audit --no-fund --ignore-scripts \
  nodejs-polars@0.26.1 nodejs-polars-linux-x64-gnu@0.26.1 >/dev/null
cat >check.mjs <<'JS'
import fs from "node:fs";
import pl from "nodejs-polars";
function read(more, from, options = {}) {
  const lines = Array.from({ length: 200 }, (_, i) => ({ id: i, ...(i + 1 >= from ? more : {}) }));
  fs.writeFileSync("x.jsonl", lines.map((line) => JSON.stringify(line) + "\n").join(""));
  try {
    const table = pl.scanJson("x.jsonl", { format: "lines", ...options }).collectSync();
    return `${table.columns.join(", ")} in ${table.height} rows`;
  } catch (error) {
    return `an error (${error.message.split("\n")[0]})`;
  }
}
for (const from of [100, 101]) {
  console.log(`a key from line ${from} on:`, read({ error: "cut" }, from));
}
const all = read({ error: "cut" }, 101, { inferSchemaLength: 200 });
console.log("a key from line 101 on, all lines looked at:", all);
console.log("a fraction from line 101 on:", read({ id: 0.5 }, 101));
JS
node check.mjs >seen
cat seen
cat >expected <<'TEXT'
a key from line 100 on: id, error in 200 rows
a key from line 101 on: id in 200 rows
a key from line 101 on, all lines looked at: id, error in 200 rows
a fraction from line 101 on: an error (cannot parse '0.5' (f64) as Int64)
TEXT
cmp -s seen expected || { echo "Changed: late keys of JSON lines in Polars" >&2; exit 1; }
