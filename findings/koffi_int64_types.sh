#!/usr/bin/env bash
# A 64-bit result is a number or a bigint by its value in koffi, and always a bigint in Deno.
#
# Versions: npm koffi 3.3.4 on Node; Deno 2.9.6, from npm deno 2.9.6; the C function is libc's
# labs().
# Behaviour: koffi returns a number up to 2^53 and a bigint above; Deno returns a bigint for 3,
# too. Arguments may be either in both.
# A good engineer would guess: the declared type decides the type of the result, in either of the
# two ways; a test with small values shows which.
# Output seen: 3 and 2^53 - 1 are numbers and 2^53 + 1 a bigint with koffi; all bigint in Deno.
# Why it matters: addresses and byte offsets of large weight files pass through such functions.
# Code that adds 1 is right for small models and throws "cannot mix BigInt" only when a value is
# large, and `=== 3n` is right in Deno and never in Node.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
export DENO_DIR="$work/cache" NO_COLOR=1 DENO_NO_UPDATE_CHECK=1
npm install --prefix "$work" --loglevel=error --no-audit --no-fund koffi@3.3.4 deno@2.9.6 >/dev/null
deno="$work/node_modules/.bin/deno"
"$deno" --version >/dev/null 2>&1
cat >values.mjs <<'JS'
export const values = [3n, 2n ** 53n - 1n, 2n ** 53n + 1n];
export const types = (labs) => values.map((value) => typeof labs(-value)).join(" ");
JS
cat >koffi.mjs <<'JS'
import koffi from "koffi";
import { types } from "./values.mjs";
console.log("koffi:", types(koffi.load("libc.so.6").func("int64_t labs(int64_t)")));
JS
cat >deno.mjs <<'JS'
import { types } from "./values.mjs";
const labs = { parameters: ["i64"], result: "i64" };
console.log("deno:", types(Deno.dlopen("libc.so.6", { labs }).symbols.labs));
JS
{ node koffi.mjs && "$deno" run --quiet --no-lock --allow-ffi deno.mjs; } >seen
cat seen
cat >expected <<'TEXT'
koffi: number number bigint
deno: bigint bigint bigint
TEXT
cmp -s seen expected || { echo "Changed: 64-bit results in koffi or Deno" >&2; exit 1; }
