#!/usr/bin/env bash
# Deno's FFI refuses NaN for a 32-bit integer at first, and passes it as 0 once the call is hot.
#
# Versions: Deno 2.9.6, from npm deno 2.9.6; the C function is libc's abs(). V8 compiles on the
# main thread here (--single-threaded), so that the moment does not depend on the machine.
# Behaviour: an argument declared i32 or u32 must be an integer: NaN and 1.9 throw a TypeError.
# After some hundred thousand calls the caller is compiled with a fast path that truncates: NaN
# becomes 0 and 1.9 becomes 1. u64 never has the check: NaN is 0 from the beginning.
# A good engineer would guess: what is checked is checked always, and for all integer types alike.
# Output seen: i32 and u32 cold "throws throws", hot "0 1"; u64 "0 1" both times.
# Why it matters: sizes, counts and rank numbers of kernels are such integers, and a NaN comes from
# one division by zero. A test of the binding sees the TypeError; the loop over layers and tokens,
# which is what runs, passes a 0 and computes nothing, with success.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
export DENO_DIR="$work/cache" NO_COLOR=1 DENO_NO_UPDATE_CHECK=1
npm install --prefix "$work" --loglevel=error --no-audit --no-fund deno@2.9.6 >/dev/null
deno="$work/node_modules/.bin/deno"
"$deno" --version >/dev/null 2>&1
cat >check.js <<'JS'
const call = (type, name = "abs") => ({ name, parameters: [type], result: type });
const functions = { i32: call("i32"), u32: call("u32"), u64: call("u64", "labs") };
const { symbols } = Deno.dlopen("libc.so.6", functions);
const callers = {
  i32: (value) => symbols.i32(value),
  u32: (value) => symbols.u32(value),
  u64: (value) => symbols.u64(value),
};
function seen(caller) {
  return [NaN, 1.9].map((value) => {
    try {
      return String(caller(value));
    } catch (error) {
      return error instanceof TypeError ? "throws" : String(error);
    }
  }).join(" ");
}
for (const [type, caller] of Object.entries(callers)) {
  const cold = seen(caller);
  const good = type === "u64" ? 5n : 5;
  for (let count = 0; count < 1_000_000; count++) caller(good);
  console.log(`${type}: cold ${cold}, hot ${seen(caller)}`);
}
JS
"$deno" run --quiet --no-lock --v8-flags=--single-threaded --allow-ffi check.js >seen
cat seen
cat >expected <<'TEXT'
i32: cold throws throws, hot 0 1
u32: cold throws throws, hot 0 1
u64: cold 0 1, hot 0 1
TEXT
cmp -s seen expected || { echo "Changed: how Deno checks integers for C functions" >&2; exit 1; }
