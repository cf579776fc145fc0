#!/usr/bin/env bash
# fflate cuts a gzip file of several members to the size of the last one, without an error.
#
# Versions: npm fflate 0.8.3 and pako 3.0.3, node's zlib.
# Behaviour: gunzipSync() and gunzip() take the four bytes at the file's end, the length of the last
# member, for the length of everything, and return that much of the first member: it ends in the
# middle of a record, and behind a closing empty member (bgzip always writes one) nothing is returned.
# The class Gunzip of the same package, pako and node give all members, as RFC 1952 says.
# A good engineer would guess: all members, or the first one, or an error for what is behind it.
# Output seen: of members with 5 and 2 records, 7 in all: 1 and a part of the second; with an empty
# member at the end 0; streamed, by pako and by node 7.
# Why it matters: shards of JSON lines are joined by cat, and tools that compress in parallel write
# many members. A corpus shrinks to a few lines, and an empty file of samples reads as a finished one.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm install --prefix "$work" --loglevel=error --no-audit --no-fund --ignore-scripts \
  fflate@0.8.3 pako@3.0.3 >/dev/null
for index in 1 2 3 4 5; do echo "{\"index\":$index,\"answer\":\"needle\"}"; done >five
for index in 6 7; do echo "{\"index\":$index,\"answer\":\"hay\"}"; done >two
{ gzip -nc five && gzip -nc two; } >joined.jsonl.gz
{ gzip -nc five && gzip -nc two && gzip -nc </dev/null; } >closed.jsonl.gz
gzip -nc five >single.jsonl.gz
cat >check.mjs <<'JS'
import { readFileSync } from "node:fs";
import { gunzipSync as node } from "node:zlib";
import * as fflate from "fflate";
import * as pako from "pako";
function streamed(bytes) {
  const parts = [];
  new fflate.Gunzip((part) => parts.push(Buffer.from(part))).push(bytes, true);
  return Buffer.concat(parts);
}
const readers = { gunzipSync: fflate.gunzipSync, Gunzip: streamed, pako: pako.ungzip, node };
for (const name of ["single", "joined", "closed"]) {
  const bytes = readFileSync(`${name}.jsonl.gz`);
  for (const [reader, read] of Object.entries(readers)) {
    const text = Buffer.from(read(bytes)).toString();
    const lines = text.split("\n");
    const rest = lines.pop();
    console.log(`${name}, ${reader}: ${lines.length} records${rest === "" ? "" : ` and ${rest}`}`);
  }
}
JS
node check.mjs >seen
cat seen
cat >expected <<'TEXT'
single, gunzipSync: 5 records
single, Gunzip: 5 records
single, pako: 5 records
single, node: 5 records
joined, gunzipSync: 1 records and {"index":2,"answer":"nee
joined, Gunzip: 7 records
joined, pako: 7 records
joined, node: 7 records
closed, gunzipSync: 0 records
closed, Gunzip: 7 records
closed, pako: 7 records
closed, node: 7 records
TEXT
cmp -s seen expected || { echo "Changed: several members of a gzip file in fflate" >&2; exit 1; }
