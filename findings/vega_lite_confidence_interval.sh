#!/usr/bin/env bash
# vega-lite's confidence intervals are another picture each time, and none for a single value.
#
# Versions: npm vega 6.4.0 and vega-lite 6.5.0.
# Behaviour: `extent: "ci"` resamples with the global random source, which vega does not seed. The
# same specification with the same data gives other ends in each render. Giving vega its own seeded
# source (setRandom with randomLCG) makes them equal. One value has an interval of width 0.
# A good engineer would guess: a compiler from data to SVG is a function; two renders are equal,
# byte for byte, and an interval that cannot be known is left out, as "stderr" leaves it out.
# Output seen: unseeded false, seeded true; a single value: ci one bar, stderr none.
# Why it matters: a report that is kept under version control or compared in a test changes without
# a change of results, and a task with one sample looks as if it were known exactly.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm install --prefix "$work" --loglevel=error --no-audit --no-fund --ignore-scripts \
  vega@6.4.0 vega-lite@6.5.0 >/dev/null
cat >check.mjs <<'JS'
import * as vega from "vega";
import { compile } from "vega-lite";
async function ends(scores, extent) {
  const { spec } = compile({
    data: { values: scores.map((score) => ({ score })) },
    mark: { type: "errorbar", extent },
    encoding: { y: { field: "score", type: "quantitative" } },
  });
  const view = await new vega.View(vega.parse(spec), { renderer: "none" }).runAsync();
  return view.data(spec.data.at(-1).name).map((row) => [row.lower_score, row.upper_score]);
}
// Values far apart in many digits, so that two resamplings cannot agree by chance.
const scores = Array.from({ length: 40 }, (_, index) => Math.sqrt(index + 0.1) * 31.7);
const twice = async () => [await ends(scores, "ci"), await ends(scores, "ci")].map(String);
const [a, b] = await twice();
console.log("equal without a seed", a === b);
vega.setRandom(vega.randomLCG(7));
const c = String(await ends(scores, "ci"));
vega.setRandom(vega.randomLCG(7));
console.log("equal with a seed", c === String(await ends(scores, "ci")));
for (const extent of ["ci", "stderr"]) {
  console.log(`bars of a single value by ${extent}`, JSON.stringify(await ends([50], extent)));
}
JS
node check.mjs >seen
cat seen
cat >expected <<'TEXT'
equal without a seed false
equal with a seed true
bars of a single value by ci [[50,50]]
bars of a single value by stderr []
TEXT
cmp -s seen expected || { echo "Changed: confidence intervals of vega-lite" >&2; exit 1; }
