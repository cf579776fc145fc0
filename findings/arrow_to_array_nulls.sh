#!/usr/bin/env bash
# toArray() of an Arrow vector in JavaScript turns missing numbers into 0, and missing texts into
# null.
#
# Versions: npm apache-arrow 21.2.0.
# Behaviour: for numbers toArray() hands out the buffer of values, whose places under a null hold 0
# here and whatever the writer left elsewhere; the bitmap of nulls is not looked at. For booleans
# and strings, and for toJSON(), get() and iteration, a null is null.
# A good engineer would guess: all accessors of a vector give the same values; a null becomes null,
# NaN or an error.
# Output seen: toArray() 95,0,90, toJSON() [95,null,90]; the means are 61.7 and 92.5.
# Why it matters: a benchmark's missing samples are nulls. Averages over the typed array count them
# as wrong answers, densities and seconds that were not measured as 0, and the fast accessor is the
# one that numeric code takes.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm install --prefix "$work" --loglevel=error --no-audit --no-fund --ignore-scripts \
  apache-arrow@21.2.0 >/dev/null
cat >check.mjs <<'JS'
import { Float32, Table, tableFromIPC, tableToIPC, vectorFromArray } from "apache-arrow";
const written = new Table({
  score: vectorFromArray([95, null, 90], new Float32()),
  answer: vectorFromArray(["42", null, "17"]),
});
const table = tableFromIPC(tableToIPC(written));
const mean = (values) => (values.reduce((a, b) => a + b, 0) / values.length).toFixed(1);
const score = table.getChild("score");
const known = [...score].filter((value) => value !== null);
console.log("toArray", score.toArray().join(), "mean", mean(score.toArray()));
console.log("toJSON", JSON.stringify(score.toJSON()), "mean", mean(known));
console.log("texts", JSON.stringify(table.getChild("answer").toArray()));
JS
node check.mjs >seen
cat seen
cat >expected <<'TEXT'
toArray 95,0,90 mean 61.7
toJSON [95,null,90] mean 92.5
texts ["42",null,"17"]
TEXT
cmp -s seen expected || { echo "Changed: nulls in toArray() of Apache Arrow" >&2; exit 1; }
