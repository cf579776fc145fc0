#!/usr/bin/env bash
# await session.run() of onnxruntime-node stops everything else: a timer of 5 ms comes after the result.
#
# Versions: npm onnxruntime-node 1.30.0, under node.
# Behaviour: the call puts the work off to the next turn of the event loop and does it there, in the main
# thread. What the inputs hold at that moment counts, not at the call.
# A good engineer would guess: an asynchronous function of a native library computes in a thread of its own,
# as node's crypto, zlib and file functions do, and inputs are taken at the call.
# Output seen: a product of two matrices of 2048 x 2048 is done before a timer of 5 ms; the timer comes before
# pbkdf2() of some hundred milliseconds. An input set from 3 to 5 after the call gives 25, not 9.
# Why it matters: a server embeds or ranks passages beside a stream of tokens. Streams, time limits, health
# checks and aborts stand still for the whole run, several runs at once are one after another, and a buffer
# that is filled with the next batch during the await changes this one.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm install --prefix "$work" --loglevel=error --no-audit --no-fund --ignore-scripts \
  onnxruntime-node@1.30.0 >/dev/null
cat >check.cjs <<'JS'
const crypto = require("node:crypto");
const ort = require("onnxruntime-node");
const all = (...parts) => Buffer.concat(parts);
function varint(value) {
  const bytes = [];
  for (; value > 127; value >>>= 7) bytes.push(value & 127 | 128);
  return Buffer.from([...bytes, value]);
}
const int = (number, value) => all(varint(number * 8), varint(value));
const field = (number, bytes) => all(varint(number * 8 + 2), varint(bytes.length), bytes);
const text = (number, value) => field(number, Buffer.from(value));
function square(name, size) {
  const shape = all(field(1, int(1, size)), field(1, int(1, size)));
  return all(text(1, name), field(2, field(1, all(int(1, 1), field(2, shape)))));
}
const model = (size) => all(int(1, 8), field(8, int(2, 17)), field(7, all(
  field(1, all(text(1, "x"), text(1, "x"), text(2, "y"), text(4, "MatMul"))), text(2, "graph"),
  field(11, square("x", size)), field(12, square("y", size)))));
const options = { intraOpNumThreads: 1, logSeverityLevel: 3 };
async function order(name, work) {
  const seen = [];
  const timer = new Promise((done) => setTimeout(() => done(seen.push("timer")), 5));
  await Promise.all([timer, work().then(() => seen.push("result"))]);
  console.log(`${name}: ${seen.join(", ")}`);
}
(async () => {
  const size = 2048, session = await ort.InferenceSession.create(model(size), options);
  const x = new ort.Tensor("float32", new Float32Array(size * size).fill(1), [size, size]);
  await order("session.run()", () => session.run({ x }));
  await order("pbkdf2()", () =>
    new Promise((done) => crypto.pbkdf2("a", "b", 500_000, 64, "sha512", done)));
  const small = await ort.InferenceSession.create(model(1), options), data = new Float32Array([3]);
  const run = small.run({ x: new ort.Tensor("float32", data, [1, 1]) });
  data[0] = 5;
  console.log("3 at the call, 5 behind it: the square is", (await run).y.data[0]);
})();
JS
node check.cjs >seen
cat seen
cat >expected <<'TEXT'
session.run(): result, timer
pbkdf2(): timer, result
3 at the call, 5 behind it: the square is 25
TEXT
cmp -s seen expected || { echo "Changed: where onnxruntime-node computes" >&2; exit 1; }
