#!/usr/bin/env bash
# jstat gives a binomial probability of Infinity from about a thousand trials on.
#
# Versions: npm jstat 1.9.6.
# Behaviour: binomial.pdf(k, n, p) multiplies the coefficient with both powers. From 1,030 trials on
# the coefficient of the middle is above the largest double, and the product is infinite, or NaN where
# a power is 0; no logarithms are taken, although combinationln() is there. binomial.cdf() is by
# another formula and stays right to 9 digits.
# A good engineer would guess: a probability lies between 0 and 1, or at least is small for many
# trials.
# Output seen: half of 1,000 heads 0.02523, of 1,100 and 2,000 Infinity, of 5,000 NaN; cdf of 2,000
# 0.5089.
# Why it matters: whether two runs differ is asked by a sign test over samples, 500 for each of 13
# tasks. The exact p-value is a sum of these terms: Infinity, or NaN, which is below no threshold.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm install --prefix "$work" --loglevel=error --no-audit --no-fund --ignore-scripts \
  jstat@1.9.6 >/dev/null
cat >check.mjs <<'JS'
import jstat from "jstat";
const { binomial, combinationln } = jstat.jStat;
for (const trials of [1000, 1028, 1030, 1100, 2000, 5000]) {
  const half = trials / 2;
  const right = Math.exp(combinationln(trials, half) - trials * Math.LN2);
  console.log(
    `${half} of ${trials}: pdf ${binomial.pdf(half, trials, 0.5).toPrecision(4)}, ` +
      `by combinationln ${right.toPrecision(4)}, cdf ${binomial.cdf(half, trials, 0.5).toPrecision(4)}`,
  );
}
JS
node check.mjs >seen
cat seen
cat >expected <<'TEXT'
500 of 1000: pdf 0.02523, by combinationln 0.02523, cdf 0.5126
514 of 1028: pdf 0.02488, by combinationln 0.02488, cdf 0.5124
515 of 1030: pdf Infinity, by combinationln 0.02486, cdf 0.5124
550 of 1100: pdf Infinity, by combinationln 0.02405, cdf 0.5120
1000 of 2000: pdf Infinity, by combinationln 0.01784, cdf 0.5089
2500 of 5000: pdf NaN, by combinationln 0.01128, cdf 0.5056
TEXT
cmp -s seen expected || { echo "Changed: binomial probabilities of many trials in jstat" >&2; exit 1; }
