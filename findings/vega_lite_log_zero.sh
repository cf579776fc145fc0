#!/usr/bin/env bash
# One zero on a logarithmic axis of vega-lite moves every other point to the origin as well.
#
# Versions: npm vega 6.4.0 and vega-lite 6.5.0.
# Behaviour: with a 0 among the values the domain begins at 0, whose logarithm makes every place
# NaN, which is drawn at the left edge. All marks are there, one above the other. The compiler says
# nothing, the view's logger one warning about the domain, and the SVG is made.
# A good engineer would guess: the zero alone is left out or clamped, since marks with invalid
# values (null, NaN) are filtered by default.
# Output seen: places 0,0,0 with a zero, 0 and 300 without.
# Why it matters: lengths, seconds and tokens per second are drawn on log axes, and 0 is what a
# skipped or instantaneous phase reports. The whole figure of a report collapses into one line that
# looks like a result.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm install --prefix "$work" --loglevel=error --no-audit --no-fund --ignore-scripts \
  vega@6.4.0 vega-lite@6.5.0 >/dev/null
cat >check.mjs <<'JS'
import * as vega from "vega";
import { compile } from "vega-lite";
async function draw(lengths) {
  const warnings = [];
  const logger = { level: () => logger, info: () => logger, debug: () => logger };
  logger.warn = logger.error = (...texts) => (warnings.push(texts.join(" ")), logger);
  const { spec } = compile({
    data: { values: lengths.map((length, score) => ({ length, score })) },
    mark: "point",
    encoding: {
      x: { field: "length", type: "quantitative", scale: { type: "log" } },
      y: { field: "score", type: "quantitative" },
    },
  }, { logger });
  const view = new vega.View(vega.parse(spec), { renderer: "none", logger });
  const svg = await view.toSVG();
  const places = [...svg.matchAll(/aria-roledescription="point"[^>]*translate\(([^,]+),/g)];
  const rounded = places.map(([, x]) => Math.round(Number(x)));
  console.log(`${lengths}: places ${rounded} ${warnings}`.trim());
}
await draw([1000, 10000]);
await draw([0, 1000, 10000]);
JS
node check.mjs >seen
cat seen
cat >expected <<'TEXT'
1000,10000: places 0,300
0,1000,10000: places 0,0,0 Log scale domain includes zero: [0,10000]
TEXT
cmp -s seen expected || { echo "Changed: a zero on vega-lite's logarithmic scale" >&2; exit 1; }
