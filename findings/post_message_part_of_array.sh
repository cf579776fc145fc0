#!/usr/bin/env bash
# A message of five numbers out of a long array carries the whole array, in node and in Deno.
#
# Versions: node 20.20, npm deno 2.9.6.
# Behaviour: structuredClone() and postMessage() keep a view's place in its buffer, so they copy the
# buffer. The receiver holds 4 MiB for 20 bytes, and sees the rest of the array through .buffer.
# slice() copies what is meant. node's v8.serialize(), the same algorithm by name, writes the part
# alone.
# A good engineer would guess: what is sent is what the value shows: 5 numbers.
# Output seen: a part of 20 bytes arrives in a buffer of 4,194,304 bytes, at byte 20; by slice() in 20
# bytes; v8.serialize() 25 bytes.
# Why it matters: a worker per rank or tokenizer gets rows of a matrix by subarray(). Each message
# costs the whole matrix in time and in memory, and hands over data that was not meant to leave.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm install --prefix "$work" --loglevel=error --no-audit --no-fund deno@2.9.6 >/dev/null
cat >check.mjs <<'JS'
const tokens = new Float32Array(1 << 20);
const part = tokens.subarray(5, 10);
const say = (how, { length, byteOffset, buffer }) =>
  console.log(`${how}: ${length} numbers at byte ${byteOffset} of ${buffer.byteLength}`);
say("structuredClone", structuredClone(part));
say("structuredClone of slice()", structuredClone(part.slice()));
const { port1, port2 } = new MessageChannel();
await new Promise((resolve) => {
  port2.onmessage = ({ data }) => resolve(say("postMessage", data));
  port1.postMessage(part);
});
port1.close();
port2.close();
if (typeof Deno === "undefined") {
  const { serialize } = await import("node:v8");
  console.log(`v8.serialize: ${serialize(part).length} bytes`);
}
JS
{ node check.mjs && DENO_DIR="$work/cache" DENO_NO_UPDATE_CHECK=1 npx --no-install deno run --quiet check.mjs; } >seen
cat seen
cat >expected <<'TEXT'
structuredClone: 5 numbers at byte 20 of 4194304
structuredClone of slice(): 5 numbers at byte 0 of 20
postMessage: 5 numbers at byte 20 of 4194304
v8.serialize: 25 bytes
structuredClone: 5 numbers at byte 20 of 4194304
structuredClone of slice(): 5 numbers at byte 0 of 20
postMessage: 5 numbers at byte 20 of 4194304
TEXT
cmp -s seen expected || { echo "Changed: what a message of a part of an array carries" >&2; exit 1; }
