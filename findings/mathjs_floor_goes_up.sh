#!/usr/bin/env bash
# floor(4095.9999999999) of mathjs is 4096, and max(1, 1 + 1e-13) is 1.
#
# Versions: npm mathjs 15.2.0.
# Behaviour: numbers within a relative 1e-12 count as equal everywhere: floor() and ceil() first look whether
# a number is nearly whole, max() keeps the first of two near ones, and sets drop the second.
# A good engineer would guess: floor() is never above its argument; a tolerance, if any, is for ==.
# Output seen: floor(0.9999999999999) is 1, floor(4095.9999999999) 4096, floor(131071.9999999) 131072;
# ceil(1.0000000000001) 1; Math.floor has 0, 4095, 131071 and Math.ceil 2; the maximum is the smaller.
# Why it matters: a place in a document is the floor of a fraction times its length. The tolerance grows with
# the number: at a million tokens it is 1e-6. Where a sum of fractions ends just below a whole number, the
# place is behind the end or in the next block.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm install --prefix "$work" --loglevel=error --no-audit --no-fund --ignore-scripts \
  mathjs@15.2.0 >/dev/null
cat >check.mjs <<'JS'
import { all, create } from "mathjs";
const math = create(all);
for (const x of [0.9999999999999, 4095.9999999999, 131071.9999999, 0.999]) {
  console.log(`floor ${x}: ${math.floor(x)}, Math.floor ${Math.floor(x)}`);
}
console.log(`ceil 1.0000000000001: ${math.ceil(1.0000000000001)}, Math.ceil ${Math.ceil(1.0000000000001)}`);
const near = [1, 1 + 1e-13];
console.log(`max is the larger: ${math.max(near) === near[1]}, distinct ${math.setDistinct(near).length}`);
JS
node check.mjs >seen
cat seen
cat >expected <<'TEXT'
floor 0.9999999999999: 1, Math.floor 0
floor 4095.9999999999: 4096, Math.floor 4095
floor 131071.9999999: 131072, Math.floor 131071
floor 0.999: 0, Math.floor 0
ceil 1.0000000000001: 1, Math.ceil 2
max is the larger: false, distinct 1
TEXT
cmp -s seen expected || { echo "Changed: floor and max of nearly equal numbers in mathjs" >&2; exit 1; }
