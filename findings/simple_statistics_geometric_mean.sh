#!/usr/bin/env bash
# The geometric mean of 400 probabilities of 0.1 is 0 in simple-statistics.
#
# Versions: npm simple-statistics 7.12.1; beside it npm jstat 1.9.6.
# Behaviour: geometricMean() multiplies all numbers and takes the root at the end. The product of 324 of
# 0.1 is below the least number of 64 bits, that of 309 tens above the largest. logAverage() and jstat go by
# logarithms or roots.
# A good engineer would guess: a mean lies between the least and the largest of its numbers; a library's
# geometric mean goes by logarithms.
# Output seen: 0.1 for 300 of 0.1, 0 for 400, Infinity for 400 of 10; logAverage() and jstat give 0.1 and 10.
# Why it matters: the geometric mean of its tokens' probabilities is an answer's confidence, and perplexity is
# one over it. Answers above some hundred tokens get 0 and an infinite perplexity, short ones are right: a
# model seems to break down with length.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm install --prefix "$work" --loglevel=error --no-audit --no-fund --ignore-scripts \
  simple-statistics@7.12.1 jstat@1.9.6 >/dev/null
cat >check.mjs <<'JS'
import { geometricMean, logAverage } from "simple-statistics";
import jstat from "jstat";
const round = (x) => Number(x.toFixed(6));
for (const [count, value] of [[300, 0.1], [400, 0.1], [400, 10], [2000, 0.5]]) {
  const numbers = Array(count).fill(value);
  const others = [logAverage(numbers), jstat.jStat.geomean(numbers)].map(round);
  console.log(`${count} of ${value}: ${round(geometricMean(numbers))}; others ${others.join(", ")}`);
}
JS
node check.mjs >seen
cat seen
cat >expected <<'TEXT'
300 of 0.1: 0.1; others 0.1, 0.1
400 of 0.1: 0; others 0.1, 0.1
400 of 10: Infinity; others 10, 10
2000 of 0.5: 0; others 0.5, 0.5
TEXT
cmp -s seen expected || { echo "Changed: the geometric mean of simple-statistics" >&2; exit 1; }
