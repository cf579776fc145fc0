/**
 * The charts of a sweep in Vega-Lite's language: the score against the share of tiles computed, a line
 * for each method.
 *
 * @module
 */
import type { ChartSpec } from "../../lib/deps/vega.ts";
import type { SweepRow } from "../sweep/results.ts";
import { nameOf } from "../sweep/settings.ts";
import { CONFIG, LENGTH_LABEL } from "./charts.ts";
import { INK, SERIES, SHAPES } from "./palette.ts";

/** What is drawn: scores, or their differences from the exact settings. */
export type SweepValue = "score" | "delta";

/** Against what: tiles that phase 1 computed, or the share of the keys that phase 2 reads. */
export type SweepCost = "density" | "keys";

/** What a chart is about. */
export interface SweepKind {
  readonly value: SweepValue;
  readonly cost: SweepCost;
}

/** A setting in a chart. */
interface Point {
  /** What it is a point of: settings that differ in their cost alone. */
  readonly method: string;
  readonly exact: string;
  readonly length: number;
  readonly cost: number;
  readonly value: number;
  readonly low: number;
  readonly high: number;
  readonly isExact: boolean;
  readonly tip: string;
}

const TITLES: Readonly<Record<SweepValue, string>> = {
  score: "mean score",
  delta: "score less that of all tiles",
};

const COST_TITLES: Readonly<Record<SweepCost, string>> = {
  density: "share of the causal tiles that phase 1 computed",
  keys: "share of the context's tiles of keys that phase 2 reads",
};

/** The settings that have a value and a cost of a kind. */
export function sweepPoints(rows: readonly SweepRow[], { value, cost }: SweepKind): Point[] {
  return rows.flatMap((row): Point[] => {
    const mean = value === "score" ? row.mean : row.delta;
    const { decode_keep: keep } = row.setting;
    const place = cost === "density" ? row.density : keep;
    // How many keys a threshold reads is not known.
    if (mean === undefined || typeof place !== "number") return [];
    const { mean: height, stderr = 0 } = mean;
    const { name, exact, length, density, sampleCount } = row;
    const method = cost === "density" ? row.method : nameOf({ ...row.setting, decode_keep: 1 });
    const error = mean.stderr === undefined ? "" : ` ± ${stderr.toFixed(2)}`;
    return [{
      ...{ method, exact, length, cost: place, value: height, isExact: name === exact },
      ...{ low: height - stderr, high: height + stderr },
      tip: `${name} at ${length.toLocaleString("en")} tokens\n${height.toFixed(2)}${error}\n` +
        `${(100 * density).toFixed(1)} % of the tiles (n = ${sampleCount})`,
    }];
  });
}

/** What a chart is drawn with. */
interface SweepChartOptions extends SweepKind {
  /** Of all charts of the page, so that a colour means the same in each. */
  readonly methods: readonly string[];
}

/** One chart for each length and each exact setting that others are compared with. */
export function sweepChart(points: readonly Point[], options: SweepChartOptions): ChartSpec {
  const families = [...new Set(points.map(({ exact }) => exact))].sort();
  const lengths = [...new Set(points.map(({ length }) => length))].sort((a, b) => a - b);
  return {
    config: CONFIG,
    data: { values: points },
    facet: {
      row: {
        field: "length",
        type: "ordinal",
        sort: lengths,
        header: { labelExpr: `(${LENGTH_LABEL}) + ' tokens'`, labelAngle: 0, labelAlign: "left" },
      },
      column: { field: "exact", type: "nominal", sort: families },
    },
    spacing: 26,
    spec: {
      width: families.length === 1 ? 660 : 330,
      height: 240,
      layer: layersOf(points, options),
    },
    resolve: { scale: { x: "shared", y: "independent" } },
  };
}

/** Lines, errors and points; across the chart, what all tiles give. */
function layersOf(points: readonly Point[], options: SweepChartOptions): readonly ChartSpec[] {
  const { value, cost } = options;
  const { color, shape } = seriesOf(points, options.methods);
  const x = {
    field: "cost",
    type: "quantitative",
    scale: { domainMin: 0 },
    axis: { title: COST_TITLES[cost], format: "%", grid: true },
  };
  const scale = { zero: value === "delta", nice: true };
  const y = {
    field: "value",
    type: "quantitative",
    scale,
    axis: { title: TITLES[value], tickCount: 6 },
  };
  return [
    {
      transform: [{ filter: "datum.isExact" }],
      mark: { type: "rule", aria: false, strokeDash: [4, 4], color: INK.muted },
      encoding: { y },
    },
    {
      mark: { type: "line", aria: false, strokeWidth: 2, interpolate: "linear" },
      encoding: { x, y, color, order: { field: "cost" } },
    },
    {
      mark: { type: "rule", aria: false, strokeWidth: 1.5 },
      encoding: {
        ...{ x, color },
        y: { field: "low", type: "quantitative", scale, title: TITLES[value] },
        y2: { field: "high" },
      },
    },
    {
      mark: { type: "point", filled: true, size: 75, opacity: 1 },
      encoding: { x, y, color, shape, description: { field: "tip" } },
    },
  ];
}

/** How methods are told apart; the legend has those that are shown. */
function seriesOf(
  points: readonly Point[],
  all: readonly string[],
): { color: ChartSpec; shape: ChartSpec } {
  const shown = all.filter((one) => points.some(({ method }) => method === one));
  const scaleOf = (rangeOf: (index: number) => string | undefined) => ({
    domain: shown,
    range: shown.map((method) => rangeOf(all.indexOf(method))),
  });
  const common = {
    field: "method",
    type: "nominal",
    legend: { title: null, orient: "top", columns: 2, labelLimit: 420 },
  } as const;
  return {
    color: { ...common, scale: scaleOf((index) => SERIES[index % SERIES.length]) },
    shape: { ...common, scale: scaleOf(shapeOf) },
  };
}

/** Behind as many methods as there are colours, a colour comes back with another mark. */
function shapeOf(index: number): string | undefined {
  return SHAPES[(index + Math.floor(index / SERIES.length)) % SHAPES.length];
}
