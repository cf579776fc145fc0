#!/usr/bin/env bash
# A filter of hyparquet for `{ length: 4096 }` finds no row, and `{ length: { $gte: 4096 } }` finds
# it.
#
# Versions: npm hyparquet 1.31.5, file written by npm hyparquet-writer 0.17.0.
# Behaviour: 64-bit integers are read as bigint. Equality, `$in` and `$ne` compare strictly, so
# that a number equals none; the four order operators compare a number with a bigint as JavaScript
# does. `filterStrict: false`, which its README does not name, makes them equal.
# A good engineer would guess: one filter language has one notion of equal, and x >= 4096 together
# with x <= 4096 is the same as x = 4096.
# Output seen: equal 0, in 0, not equal 3, between 1, equal with 4096n 1.
# Why it matters: lengths, depths and indices of published benchmarks are 64-bit integers, as
# pandas writes no other by default. A selection of one length is empty, `$ne` excludes nothing,
# and a benchmark of no samples looks like a finished one.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm install --prefix "$work" --loglevel=error --no-audit --no-fund --ignore-scripts \
  hyparquet@1.31.5 hyparquet-writer@0.17.0 >/dev/null
cat >check.mjs <<'JS'
import { parquetQuery } from "hyparquet";
import { parquetWriteBuffer } from "hyparquet-writer";
const file = parquetWriteBuffer({
  columnData: [{ name: "length", data: [2048n, 4096n, 8192n], type: "INT64" }],
});
const count = async (length, options) =>
  (await parquetQuery({ file, filter: { length }, ...options })).length;
console.log("equal", await count({ $eq: 4096 }), await count(4096));
console.log("in", await count({ $in: [4096] }));
console.log("not equal", await count({ $ne: 4096 }));
console.log("between", await count({ $gte: 4096, $lte: 4096 }));
console.log("equal with a bigint", await count({ $eq: 4096n }));
console.log("equal, not strict", await count({ $eq: 4096 }, { filterStrict: false }));
JS
node check.mjs >seen
cat seen
cat >expected <<'TEXT'
equal 0 0
in 0
not equal 3
between 1
equal with a bigint 1
equal, not strict 1
TEXT
cmp -s seen expected || { echo "Changed: filters of hyparquet on 64-bit integers" >&2; exit 1; }
