/**
 * A report's charts in Vega-Lite's language.
 *
 * @module
 */
import type { ChartSpec } from "../../lib/deps/vega.ts";
import { type DepthRow, type HeadRow, MEAN, type ScoreRow, type TimeRow } from "./model.ts";
import { INK, SCORE_SHADES, SERIES, SHADES, SHAPES } from "./palette.ts";

const FONT = "system-ui, -apple-system, Segoe UI, Roboto, Helvetica, Arial, sans-serif";

/** What all charts have in common. */
export const CONFIG = {
  background: null,
  font: FONT,
  padding: 4,
  view: { stroke: null },
  axis: {
    labelColor: INK.muted,
    titleColor: INK.muted,
    tickColor: INK.grid,
    domainColor: INK.grid,
    gridColor: INK.grid,
    labelFontSize: 12,
    titleFontSize: 12,
    titleFontWeight: 500,
    titlePadding: 10,
    labelPadding: 6,
    tickSize: 4,
  },
  axisX: { grid: false },
  axisY: { domain: false, ticks: false },
  legend: {
    labelColor: INK.ink,
    titleColor: INK.muted,
    labelFontSize: 12,
    titleFontSize: 12,
    titleFontWeight: 500,
    symbolSize: 90,
    labelLimit: 420,
  },
  header: { labelColor: INK.ink, labelFontSize: 13, labelFontWeight: 600, title: null },
} as const;

/** `4,096` as `4k`. */
export const LENGTH_LABEL =
  "datum.value >= 1024 && datum.value % 1024 == 0 ? datum.value / 1024 + 'k' : datum.value";

function lengthAxis(rows: readonly { length: number }[], title: string | null): ChartSpec {
  const values = [...new Set(rows.map(({ length }) => length))].sort((a, b) => a - b);
  const isSingle = values.length === 1;
  return {
    field: "length",
    type: isSingle ? "ordinal" : "quantitative",
    ...(isSingle ? {} : { scale: { type: "log", base: 2, nice: false, padding: 24 } }),
    axis: { values, labelExpr: LENGTH_LABEL, title, labelAngle: 0 },
  };
}

function seriesColor(names: readonly string[], legend: ChartSpec | null): ChartSpec {
  const range = names.map((_, index) => SERIES[index % SERIES.length]);
  return { field: "experiment", type: "nominal", scale: { domain: names, range }, legend };
}

function seriesShape(names: readonly string[], legend: ChartSpec | null): ChartSpec {
  const range = names.map((_, index) => SHAPES[index % SHAPES.length]);
  return { field: "experiment", type: "nominal", scale: { domain: names, range }, legend };
}

const LEGEND = { title: null, orient: "top", columns: 2 } as const;

/** The lowest score that an axis shows: errors are to be seen. */
function scoreDomain(rows: readonly ScoreRow[]): [number, number] {
  const low = Math.min(...rows.map(({ low }) => low));
  return [low > 60 ? Math.floor((low - 4) / 10) * 10 : 0, 100];
}

const SCORE_TIP =
  "datum.experiment + '\\n' + datum.task + ' at ' + format(datum.length, ',') + ' tokens\\n' + " +
  "format(datum.score, '.1f') + ' ± ' + format(datum.high - datum.score > datum.score - datum.low " +
  "? datum.high - datum.score : datum.score - datum.low, '.1f') + ' (n = ' + datum.n + ')'";

function scoreLayers(
  rows: readonly ScoreRow[],
  names: readonly string[],
  legend: boolean,
): ChartSpec {
  const color = seriesColor(names, legend ? LEGEND : null);
  const x = lengthAxis(rows, legend ? "length in tokens" : null);
  const scale = { domain: scoreDomain(rows), nice: false };
  const y = {
    field: "score",
    type: "quantitative",
    scale,
    axis: { title: legend ? "score" : null, tickCount: 5 },
  };
  const xOffset = names.length > 1 && new Set(rows.map(({ length }) => length)).size === 1
    ? { xOffset: { field: "experiment", type: "nominal" } }
    : {};
  return {
    layer: [
      {
        mark: { type: "line", aria: false, strokeWidth: 2.5, interpolate: "linear" },
        encoding: { x, y, color },
      },
      {
        mark: { type: "rule", aria: false, strokeWidth: 1.75 },
        encoding: {
          ...{ x, color, ...xOffset },
          y: { field: "low", type: "quantitative", scale },
          y2: { field: "high" },
        },
      },
      {
        transform: [{ calculate: SCORE_TIP, as: "tip" }],
        mark: { type: "point", filled: true, size: legend ? 95 : 55, opacity: 1 },
        encoding: {
          ...{ x, y, color, ...xOffset },
          shape: seriesShape(names, legend ? LEGEND : null),
          description: { field: "tip" },
        },
      },
    ],
  };
}

/** The mean score against the length, with errors. */
export function meanChart(rows: readonly ScoreRow[], names: readonly string[]): ChartSpec {
  const values = rows.filter(({ task }) => task === MEAN);
  return {
    ...{ config: CONFIG, width: 820, height: 300, data: { values } },
    ...scoreLayers(values, names, true),
  };
}

/** The same for each task, small. */
export function taskCharts(rows: readonly ScoreRow[], names: readonly string[]): ChartSpec {
  const values = rows.filter(({ task }) => task !== MEAN);
  const tasks = [...new Set(values.map(({ task }) => task))];
  return {
    config: CONFIG,
    data: { values },
    columns: 3,
    spacing: 26,
    facet: { field: "task", type: "nominal", sort: tasks },
    spec: { width: 225, height: 125, ...scoreLayers(values, names, false) },
  };
}

/** What the computed share of tiles costs in score. */
export function densityChart(rows: readonly ScoreRow[], names: readonly string[]): ChartSpec {
  const values = rows.filter(({ task, density }) => task === MEAN && density !== undefined);
  const color = seriesColor(names, LEGEND);
  const x = {
    field: "density",
    type: "quantitative",
    scale: { domain: [0, Math.max(1, ...values.map(({ density = 0 }) => density))] },
    axis: { title: "share of the causal tiles that phase 1 computed", format: "%" },
  };
  const scale = { domain: scoreDomain(values), nice: false };
  const y = {
    field: "score",
    type: "quantitative",
    scale,
    axis: { title: "mean score", tickCount: 5 },
  };
  return {
    ...{ config: CONFIG, width: 820, height: 280, data: { values } },
    layer: [
      {
        mark: { type: "rule", aria: false, strokeWidth: 1.75 },
        encoding: {
          ...{ x, color },
          y: { field: "low", type: "quantitative", scale },
          y2: { field: "high" },
        },
      },
      {
        transform: [{
          calculate: `${SCORE_TIP} + '\\n' + format(datum.density, '.0%') + ' of the tiles'`,
          as: "tip",
        }],
        mark: { type: "point", filled: true, size: 110, opacity: 1 },
        encoding: { x, y, color, shape: seriesShape(names, LEGEND), description: { field: "tip" } },
      },
      {
        // Dense runs of all lengths lie on one place.
        transform: [{ filter: "datum.density < 0.995" }],
        mark: {
          type: "text",
          aria: false,
          dx: 9,
          dy: -9,
          align: "left",
          fontSize: 11,
          color: INK.muted,
        },
        encoding: { x, y, text: { field: "length", type: "quantitative", format: "," } },
      },
    ],
  };
}

/** How well needles are found, by depth and length. */
export function depthChart(rows: readonly DepthRow[], names: readonly string[]): ChartSpec {
  const lengths = [...new Set(rows.map(({ length }) => length))].sort((a, b) => a - b);
  const shown = names.filter((name) => rows.some(({ experiment }) => experiment === name));
  return {
    config: CONFIG,
    data: { values: rows },
    columns: 2,
    spacing: 30,
    transform: [{
      calculate:
        "datum.experiment + '\\n' + format(datum.length, ',') + ' tokens, needles from ' + " +
        "datum.depth + ' % to ' + (datum.depth + 10) + ' %\\n' + format(datum.score, '.1f') + " +
        "' (n = ' + datum.n + ')'",
      as: "tip",
    }],
    facet: { field: "experiment", type: "nominal", sort: shown, title: null },
    spec: {
      width: shown.length === 1 ? 700 : 320,
      height: 230,
      mark: { type: "rect", cornerRadius: 2, stroke: INK.paper, strokeWidth: 1.5 },
      encoding: {
        x: {
          field: "length",
          type: "ordinal",
          sort: lengths,
          axis: {
            title: "length in tokens",
            labelExpr: LENGTH_LABEL,
            labelAngle: 0,
            domain: false,
          },
        },
        y: {
          field: "depth",
          type: "ordinal",
          sort: Array.from({ length: 10 }, (_, bin) => bin * 10),
          axis: { title: "depth in %", labelOverlap: true },
        },
        color: {
          field: "score",
          type: "quantitative",
          scale: { domain: [0, 100], range: SCORE_SHADES, interpolate: "lab" },
          legend: { title: "score", orient: "right", gradientLength: 190 },
        },
        description: { field: "tip" },
      },
    },
  };
}

/**
 * A share of each head, by default that of the tiles that it takes.
 *
 * @param options `legend` names the share; `what` ends its sentence in a tip.
 */
export function headChart(
  rows: readonly HeadRow[],
  names: readonly string[],
  options: { legend: string; what: string; scale?: "sqrt" } = {
    ...{ legend: "density", what: "of the causal tiles" },
  },
): ChartSpec {
  const { legend, what, scale: type = "linear" } = options;
  const shown = names.filter((name) => rows.some(({ experiment }) => experiment === name));
  const heads = Math.max(...rows.map(({ head }) => head)) + 1;
  const layers = Math.max(...rows.map(({ layer }) => layer)) + 1;
  const cell = Math.max(9, Math.min(40, Math.floor((shown.length === 1 ? 700 : 330) / heads)));
  return {
    config: CONFIG,
    data: { values: rows },
    columns: 2,
    spacing: 30,
    transform: [{
      calculate:
        "datum.experiment + '\\nlayer ' + datum.layer + ', head ' + datum.head + '\\n' + " +
        `format(datum.share, '.1%') + ' ${what}'`,
      as: "tip",
    }],
    facet: { field: "experiment", type: "nominal", sort: shown, title: null },
    spec: {
      width: cell * heads,
      height: Math.max(110, Math.min(30, Math.max(9, Math.floor(420 / layers))) * layers),
      mark: { type: "rect", cornerRadius: 2, stroke: INK.paper, strokeWidth: 1 },
      encoding: {
        x: {
          field: "head",
          type: "ordinal",
          axis: { title: "query head", labelAngle: 0, labelOverlap: true, domain: false },
        },
        y: { field: "layer", type: "ordinal", axis: { title: "layer", labelOverlap: true } },
        color: {
          field: "share",
          type: "quantitative",
          scale: { type, domainMin: 0, range: SHADES, interpolate: "lab" },
          legend: { title: legend, orient: "right", format: "%", gradientLength: 150 },
        },
        description: { field: "tip" },
      },
    },
  };
}

/** The seconds of a sample, by phase. */
export function timeChart(rows: readonly TimeRow[], names: readonly string[]): ChartSpec {
  const phases = ["phase 1: the context", "phase 2: query and answer", "rest"] as const;
  const values = rows.flatMap(({ experiment, length, phase1, phase2, rest }) =>
    [phase1, phase2, rest].map((seconds, order) => ({
      ...{ experiment, length, seconds, order },
      phase: phases[order],
      tip: `${experiment}\n${length.toLocaleString("en")} tokens, ${phases[order]}\n` +
        `${seconds.toFixed(2)} s`,
    }))
  );
  const lengths = [...new Set(rows.map(({ length }) => length))].sort((a, b) => a - b);
  return {
    config: CONFIG,
    data: { values },
    facet: {
      row: {
        field: "length",
        type: "ordinal",
        sort: lengths,
        header: { labelExpr: `(${LENGTH_LABEL}) + ' tokens'`, labelAngle: 0, labelAlign: "left" },
      },
    },
    spacing: 12,
    spec: {
      width: 520,
      height: { step: 26 },
      mark: { type: "bar", cornerRadius: 2, height: { band: 0.72 } },
      encoding: {
        y: {
          field: "experiment",
          type: "nominal",
          sort: names,
          axis: { title: null, labelLimit: 200 },
        },
        x: {
          field: "seconds",
          type: "quantitative",
          axis: { title: "seconds per sample", grid: true },
        },
        color: {
          field: "phase",
          type: "nominal",
          scale: { domain: phases, range: [SERIES[0], SERIES[1], SERIES[5]] },
          legend: { title: null, orient: "top" },
        },
        order: { field: "order" },
        description: { field: "tip" },
      },
    },
  };
}
