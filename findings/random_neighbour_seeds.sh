#!/usr/bin/env bash
# Seeds 0 to 99 draw nearly the same first number in d3-random and pure-rand: 5 of 100 places, or a
# ramp.
#
# Versions: npm d3-random 3.0.2, pure-rand 8.4.2, seedrandom 3.0.5.
# Behaviour: d3's randomLcg() takes the seed as its state and moves it by 0.0004 for each seed, so
# that the first draws of seeds 0 to 99 lie between 0.236 and 0.275 (and -7 is 7). pure-rand's
# xorshift128plus and xoroshiro128plus give 47, 46, 45, 44 for seeds 0, 1, 2, 3, and fractions of
# 0.999999 and above for all. seedrandom and pure-rand's mersenne are fine.
# A good engineer would guess: a seed is hashed, so that sample i with seed base + i is independent.
# Output seen: places in 100 drawn by 100 seeds: lcg 5 different ones, xorshift and xoroshiro each one
# once, in order.
# Why it matters: benchmarks draw the depth of a needle or a few sentences by seed + index. All
# needles lie in the same twentieth of the haystack, or sweep it in order, and the error bar looks
# small.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm install --prefix "$work" --loglevel=error --no-audit --no-fund --ignore-scripts \
  d3-random@3.0.2 pure-rand@8.4.2 seedrandom@3.0.5 >/dev/null
cat >check.mjs <<'JS'
import { randomLcg } from "d3-random";
import { uniformFloat64 } from "pure-rand/distribution/uniformFloat64";
import { uniformInt } from "pure-rand/distribution/uniformInt";
import { mersenne } from "pure-rand/generator/mersenne";
import { xoroshiro128plus } from "pure-rand/generator/xoroshiro128plus";
import { xorshift128plus } from "pure-rand/generator/xorshift128plus";
import seedrandom from "seedrandom";
const place = (next) => Math.floor(next() * 100);
const sources = {
  "d3 randomLcg": (seed) => place(randomLcg(seed)),
  "pure-rand xorshift128plus": (seed) => uniformInt(xorshift128plus(seed), 0, 99),
  "pure-rand xoroshiro128plus": (seed) => uniformInt(xoroshiro128plus(seed), 0, 99),
  "pure-rand mersenne": (seed) => uniformInt(mersenne(seed), 0, 99),
  "seedrandom": (seed) => place(seedrandom(seed)),
};
const seeds = Array.from({ length: 100 }, (_, seed) => seed);
for (const [name, draw] of Object.entries(sources)) {
  const drawn = seeds.map(draw);
  const steps = new Set(drawn.slice(1).map((value, i) => (value - drawn[i] + 100) % 100));
  console.log(
    `${name}: ${drawn.slice(0, 8).join(" ")} ..., ${new Set(drawn).size} of 100 places, ` +
      `${steps.size} different steps`,
  );
}
const fractions = seeds.map((seed) => uniformFloat64(xorshift128plus(seed)));
console.log("xorshift128plus as fractions: least", Math.min(...fractions).toFixed(6));
console.log("randomLcg of -7 and 7:", randomLcg(-7)() === randomLcg(7)() ? "the same" : "different");
JS
node check.mjs >seen
cat seen
cat >expected <<'TEXT'
d3 randomLcg: 23 23 23 23 23 23 23 23 ..., 5 of 100 places, 2 different steps
pure-rand xorshift128plus: 47 46 45 44 43 42 41 40 ..., 100 of 100 places, 1 different steps
pure-rand xoroshiro128plus: 47 46 45 44 43 42 41 40 ..., 100 of 100 places, 1 different steps
pure-rand mersenne: 96 93 96 38 82 59 82 63 ..., 64 of 100 places, 63 different steps
seedrandom: 3 17 37 75 37 89 8 50 ..., 63 of 100 places, 60 different steps
xorshift128plus as fractions: least 0.999999
randomLcg of -7 and 7: the same
TEXT
cmp -s seen expected || { echo "Changed: what neighbouring seeds draw first" >&2; exit 1; }
