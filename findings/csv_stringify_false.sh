#!/usr/bin/env bash
# csv-stringify writes true as 1 and false as nothing, as it writes null.
#
# Versions: npm csv-stringify 6.9.0; read back with npm d3-dsv 3.0.2 and d3-array 3.2.5.
# Behaviour: the cast of truth values is "1" or the empty text; a date is its milliseconds. There is an
# option `cast` for other forms.
# A good engineer would guess: true and false, as all other writers have it, or 1 and 0.
# Output seen: true, false and null are "1", "" and ""; four samples with one right are read back as 1 and
# three missing, the mean of which is 1 where it was 0.25.
# Why it matters: each sample's "correct" is such a value. Readers skip missing fields in a mean, so that
# every run has an accuracy of 100 %, and failed samples cannot be told from wrong ones.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm install --prefix "$work" --loglevel=error --no-audit --no-fund --ignore-scripts \
  csv-stringify@6.9.0 d3-dsv@3.0.2 d3-array@3.2.5 >/dev/null
cat >check.mjs <<'JS'
import { stringify } from "csv-stringify/sync";
import { autoType, csvParse } from "d3-dsv";
import { mean } from "d3-array";
console.log(JSON.stringify(stringify([[true, false, null, 0]])));
const samples = [true, false, false, false].map((correct, id) => ({ id, correct }));
const read = csvParse(stringify(samples, { header: true }), autoType);
console.log("mean before", mean(samples, (row) => row.correct));
console.log("mean after", mean(read, (row) => row.correct));
console.log("missing", read.filter((row) => row.correct === null).length);
JS
node check.mjs >seen
cat seen
cat >expected <<'TEXT'
"1,,,0\n"
mean before 0.25
mean after 1
missing 3
TEXT
cmp -s seen expected || { echo "Changed: truth values in csv-stringify" >&2; exit 1; }
