#!/usr/bin/env bash
# A Float32Array through npm's MessagePack libraries comes back as bytes, as itself, or as other
# numbers.
#
# Versions: npm @msgpack/msgpack 3.1.3, msgpackr 2.1.4, notepack.io 3.0.1, msgpack-lite 0.2.2, bson
# 7.3.4, cbor-x 1.6.9.
# Behaviour: notepack.io takes each element for a byte, so that 1.5, -2.5 and 300 become 1, 254 and
# 44. @msgpack/msgpack and msgpackr write the memory and give back bytes; bson writes an object with
# keys "0", "1", "2". msgpack-lite and cbor-x keep the type.
# A good engineer would guess: one format, one result; a type that it lacks is a list of numbers or an
# error.
# Output seen: bytes of 12, bytes of 12, 1 254 44, the array, an object, the array.
# Why it matters: logits, embeddings and parts of an attention travel between processes as such
# arrays. The length is right in one library and four times too large in two, and only one of them
# loses numbers.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm install --prefix "$work" --loglevel=error --no-audit --no-fund --ignore-scripts \
  @msgpack/msgpack@3.1.3 msgpackr@2.1.4 notepack.io@3.0.1 msgpack-lite@0.2.2 bson@7.3.4 cbor-x@1.6.9 >/dev/null
cat >check.mjs <<'JS'
import { decode, encode } from "@msgpack/msgpack";
import { deserialize, serialize } from "bson";
import * as cbor from "cbor-x";
import lite from "msgpack-lite";
import * as msgpackr from "msgpackr";
import notepack from "notepack.io";
const libraries = {
  "@msgpack/msgpack": [encode, decode],
  "msgpackr": [msgpackr.pack, msgpackr.unpack],
  "notepack.io": [notepack.encode, notepack.decode],
  "msgpack-lite": [lite.encode, lite.decode],
  "bson": [(value) => serialize({ value }), (bytes) => deserialize(bytes).value],
  "cbor-x": [cbor.encode, cbor.decode],
};
const numbers = Float32Array.of(1.5, -2.5, 300);
for (const [name, [write, read]] of Object.entries(libraries)) {
  const found = read(write(numbers));
  const type = Object.getPrototypeOf(found)?.constructor?.name;
  console.log(`${name}: ${type} of ${found.length}: ${Object.values(found).join(" ")}`);
}
JS
node check.mjs >seen
cat seen
cat >expected <<'TEXT'
@msgpack/msgpack: Uint8Array of 12: 0 0 192 63 0 0 32 192 0 0 150 67
msgpackr: Buffer of 12: 0 0 192 63 0 0 32 192 0 0 150 67
notepack.io: Buffer of 3: 1 254 44
msgpack-lite: Float32Array of 3: 1.5 -2.5 300
bson: Object of undefined: 1.5 -2.5 300
cbor-x: Float32Array of 3: 1.5 -2.5 300
TEXT
cmp -s seen expected || { echo "Changed: how binary formats of npm write a Float32Array" >&2; exit 1; }
