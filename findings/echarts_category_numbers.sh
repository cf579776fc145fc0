#!/usr/bin/env bash
# On a category axis of ECharts a number is a place and not a name: the points of 4,096 and 8,192
# vanish, and 1 is drawn above 2.
#
# Versions: npm echarts 6.1.0, drawn to SVG without a browser.
# Behaviour: a category that is given as a number counts from 0 along the axis, also where the axis
# has the same number as its label. What lies behind the end is left out without a word. The same
# values as strings are names.
# A good engineer would guess: [4096, 90] belongs to the category 4096, as it does if the axis collects
# its categories from the points; at least a point that is not drawn is reported.
# Output seen: lengths as numbers 0 of 2 points, as strings 2; of 1, 2 and 4 GPUs as numbers 2 points,
# under the labels 2 and 4.
# Why it matters: results over lengths, depths and numbers of GPUs are drawn on category axes, since
# their steps double. The figure of lengths is empty, which one sees; that of GPUs shows each result
# one step to the right, and lacks the last, which nobody sees.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm install --prefix "$work" --loglevel=error --no-audit --no-fund --ignore-scripts \
  echarts@6.1.0 >/dev/null
cat >check.mjs <<'JS'
import * as echarts from "echarts";
function drawn(data, categories) {
  const chart = echarts.init(null, null, { renderer: "svg", ssr: true, width: 400, height: 300 });
  const xAxis = { type: "category", data: categories };
  chart.setOption({ animation: false, xAxis, yAxis: {}, series: [{ type: "scatter", data }] });
  const place = (i) => Math.round(chart.convertToPixel({ xAxisIndex: 0 }, i));
  const middles = new Map((categories ?? []).map((name, i) => [place(i), name]));
  const svg = chart.renderToSVGString();
  chart.dispose();
  const places = [...svg.matchAll(/matrix\(5,0,0,5,([\d.]+),/g)].map(([, x]) => Math.round(Number(x)));
  const names = categories ? ` above ${places.map((x) => middles.get(x)).join(" ")}` : "";
  return `${places.length} of ${data.length} points${places.length ? names : ""}`;
}
const text = (points) => points.map(([x, y]) => [String(x), y]);
const lengths = [[4096, 90], [8192, 80]];
const gpus = [[1, 90], [2, 80], [4, 70]];
console.log("lengths as numbers:", drawn(lengths, [4096, 8192]));
console.log("lengths as strings:", drawn(text(lengths), [4096, 8192]));
console.log("lengths, categories from the points:", drawn(lengths));
console.log("GPUs as numbers:", drawn(gpus, [1, 2, 4]));
console.log("GPUs as strings:", drawn(text(gpus), [1, 2, 4]));
JS
node check.mjs >seen
cat seen
cat >expected <<'TEXT'
lengths as numbers: 0 of 2 points
lengths as strings: 2 of 2 points above 4096 8192
lengths, categories from the points: 2 of 2 points
GPUs as numbers: 2 of 3 points above 2 4
GPUs as strings: 3 of 3 points above 1 2 4
TEXT
cmp -s seen expected || { echo "Changed: numbers on a category axis of ECharts" >&2; exit 1; }
