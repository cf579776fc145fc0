#!/usr/bin/env bash
# In simple-statistics no p-value is below 0.001: its normal distribution is a table that ends at
# 3.09.
#
# Versions: npm simple-statistics 7.12.1; for comparison npm jstat 1.9.6.
# Behaviour: cumulativeStdNormalProbability() rounds z to two digits and looks it up; beyond the
# table's end it takes the last row. probit(), its inverse, is a formula that misses by up to 0.013.
# A good engineer would guess: a statistics library computes the normal distribution to about 1e-7,
# with the erf() that it exports itself.
# Output seen: z = 3.1, 5 and 8: 0.999 each, below -5: 0.001 where 2.9e-7 is right; z = 1.954 and
# 1.946 differ by a step; probit(0.975) 1.9572 for 1.9600.
# Why it matters: two runs of a benchmark with thousands of samples differ by many standard errors. A
# correction for 13 tasks asks for p below 0.0038 / 13, which no difference reaches.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm install --prefix "$work" --loglevel=error --no-audit --no-fund --ignore-scripts \
  simple-statistics@7.12.1 jstat@1.9.6 >/dev/null
cat >check.mjs <<'JS'
import jstat from "jstat";
import { cumulativeStdNormalProbability, errorFunction, probit } from "simple-statistics";
const { normal } = jstat.jStat;
for (const z of [-8, -5, -3.1, 1.946, 1.95, 1.954, 3.1, 5, 8]) {
  const byErf = (1 + errorFunction(z / Math.SQRT2)) / 2;
  console.log(
    `z ${z}: ${cumulativeStdNormalProbability(z)}, by its errorFunction ${byErf.toPrecision(4)}, ` +
      `jstat ${normal.cdf(z, 0, 1).toPrecision(4)}`,
  );
}
for (const p of [0.975, 0.5, 1e-4]) {
  console.log(`probit ${p}: ${probit(p).toFixed(4)}, jstat ${normal.inv(p, 0, 1).toFixed(4)}`);
}
JS
node check.mjs >seen
cat seen
cat >expected <<'TEXT'
z -8: 0.001, by its errorFunction 6.106e-16, jstat 6.106e-16
z -5: 0.001, by its errorFunction 2.867e-7, jstat 2.867e-7
z -3.1: 0.001, by its errorFunction 0.0009676, jstat 0.0009676
z 1.946: 0.9744, by its errorFunction 0.9742, jstat 0.9742
z 1.95: 0.9744, by its errorFunction 0.9744, jstat 0.9744
z 1.954: 0.9744, by its errorFunction 0.9746, jstat 0.9746
z 3.1: 0.999, by its errorFunction 0.9990, jstat 0.9990
z 5: 0.999, by its errorFunction 1.000, jstat 1.000
z 8: 0.999, by its errorFunction 1.000, jstat 1.000
probit 0.975: 1.9572, jstat 1.9600
probit 0.5: 0.0000, jstat -0.0000
probit 0.0001: -3.7061, jstat -3.7190
TEXT
cmp -s seen expected || { echo "Changed: the normal distribution of simple-statistics" >&2; exit 1; }
