#!/usr/bin/env bash
# Deno passes an empty array to C as a null pointer, and an empty part of an array as a real one.
#
# Versions: Deno 2.9.6, from npm deno 2.9.6; the C function is libc's memcpy(), which returns its
# first argument.
# Behaviour: new Uint8Array(0) arrives as NULL, as does Deno.UnsafePointer.of() of it. A subarray
# of length 0, at the end of another array as well, arrives as the address where it lies.
# A good engineer would guess: an object gives a pointer that is not null, and null stands for
# null; or at least all arrays of length 0 are alike.
# Output seen: empty array null, empty subarray not null.
# Why it matters: C interfaces for kernels use NULL for "not given" (no bias, no mask, no second
# segment). Zero rows then mean "no array" in one caller and "an array of no rows" in another, and
# which of them depends on how the caller made its empty array.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
export DENO_DIR="$work/cache" NO_COLOR=1 DENO_NO_UPDATE_CHECK=1
npm install --prefix "$work" --loglevel=error --no-audit --no-fund deno@2.9.6 >/dev/null
deno="$work/node_modules/.bin/deno"
"$deno" --version >/dev/null 2>&1
cat >check.js <<'JS'
const { symbols } = Deno.dlopen("libc.so.6", {
  memcpy: { parameters: ["buffer", "buffer", "usize"], result: "pointer" },
});
const source = new Uint8Array(8);
const passed = (array) => symbols.memcpy(array, source, 0n) === null ? "null" : "a pointer";
console.log("empty array:", passed(new Uint8Array(0)));
console.log("empty array over eight bytes:", passed(new Uint8Array(new ArrayBuffer(8), 0, 0)));
console.log("empty subarray at the end:", passed(source.subarray(8)));
console.log("UnsafePointer.of(empty array):", String(Deno.UnsafePointer.of(new Uint8Array(0))));
JS
"$deno" run --quiet --no-lock --allow-ffi check.js >seen
cat seen
cat >expected <<'TEXT'
empty array: null
empty array over eight bytes: a pointer
empty subarray at the end: a pointer
UnsafePointer.of(empty array): null
TEXT
cmp -s seen expected || { echo "Changed: empty arrays in Deno's FFI" >&2; exit 1; }
