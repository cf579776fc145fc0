#!/usr/bin/env bash
# A column of mixed values loses all that differ from the first in nodejs-polars, without an error.
#
# Versions: npm nodejs-polars 0.26.1 (Linux, x86-64, glibc).
# Behaviour: the type of the first value that is not null decides, and what is of another type is
# null. Numbers behind a string, strings behind a number and 0 and 1 behind a boolean vanish; nothing
# is converted, and no error is thrown.
# A good engineer would guess: mixed numbers and strings raise, as Python's Polars does, or become
# strings.
# Output seen: "12", 7, "abc" keeps two; 1, "2", 3 keeps two; true, 1, 0 keeps one.
# Why it matters: answers of models are numbers in some rows and strings in others, and verdicts true
# or 1 by grader. Means are over the rows that are like the first, and another order of rows is
# another score.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm install --prefix "$work" --loglevel=error --no-audit --no-fund --ignore-scripts \
  nodejs-polars@0.26.1 nodejs-polars-linux-x64-gnu@0.26.1 >/dev/null
cat >check.mjs <<'JS'
import pl from "nodejs-polars";
for (const values of [["12", 7, "abc"], [7, "12", 3], [true, 1, 0], [1, true, false], [null, "a", 1]]) {
  const column = pl.DataFrame({ x: values }).getColumn("x");
  console.log(`${JSON.stringify(values)}: ${JSON.stringify(column.toArray())}, null ${column.nullCount()}`);
}
const score = (values) => pl.DataFrame({ x: values }).getColumn("x").mean();
console.log("mean of 0, 1, 1 with a first '1':", score([0, 1, 1]), "and", score(["1", 0, 1]));
JS
node check.mjs >seen
cat seen
cat >expected <<'TEXT'
["12",7,"abc"]: ["12",null,"abc"], null 1
[7,"12",3]: [7,null,3], null 1
[true,1,0]: [true,null,null], null 2
[1,true,false]: [1,null,null], null 2
[null,"a",1]: [null,"a",null], null 2
mean of 0, 1, 1 with a first '1': 0.6666666666666666 and null
TEXT
cmp -s seen expected || { echo "Changed: columns of mixed values in Polars" >&2; exit 1; }
