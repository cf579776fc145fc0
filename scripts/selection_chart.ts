/**
 * Draws `docs/selection.svg` from what sweeps on GPUs have measured: the scores of
 * `bench/h200-selection.csv` against the share of tiles, as a report shows them.
 *
 *     deno run --allow-read --allow-write=docs --allow-run scripts/selection_chart.ts
 *
 * @module
 */
import { fileURLToPath } from "node:url";
import { methodOf, type Setting } from "../commands/sweep/settings.ts";
import type { SweepRow } from "../commands/sweep/results.ts";
import { withVariables } from "../commands/report/palette.ts";
import { PICTURE_STYLE } from "../commands/report/style.ts";
import { sweepChart, sweepPoints } from "../commands/report/sweep_charts.ts";
import { ATTENTION_MODES } from "../lib/attention/plan.ts";
import { drawCharts } from "../lib/deps/vega.ts";
import { FileError } from "../lib/errors.ts";

const CSV = fileURLToPath(new URL("../bench/h200-selection.csv", import.meta.url));
const SVG = fileURLToPath(new URL("../docs/selection.svg", import.meta.url));
/** Columns whose text is a setting's value. */
const OPTIONS = ["block_size", "anchor_block_size", "stride", "threshold", "density"] as const;
/** What was asked for; in older files the first of two columns `density`. */
const ASKED_DENSITY = "asked_density";

/**
 * The rows of `sweep.csv` that differ in their tiles alone.
 *
 * @throws {FileError} If a line has other columns than the first one, or an unknown mode.
 */
export function readRows(text: string, path: string): SweepRow[] {
  const [header = [], ...lines] = text.trim().split("\n").map((line) => line.split(","));
  const first = header.indexOf("density");
  const names = first === header.lastIndexOf("density")
    ? header
    : header.with(first, ASKED_DENSITY);
  return lines.flatMap((cells, i): SweepRow[] => {
    if (cells.length !== names.length) {
      throw new FileError(
        `Cannot read ${path}: line ${i + 2} must have ${names.length} columns: ` +
          `current value is ${cells.length}`,
      );
    }
    const cell = (name: string): string => cells[names.indexOf(name)] ?? "";
    const measured = (name: string): number => Number(cells[names.indexOf(name)] ?? NaN);
    const isSelection = cell("decode_keep") === "1" && cell("rest") !== "mean";
    if (!isSelection) return [];
    const attn_type = ATTENTION_MODES.find((mode) => mode === cell("attn_type"));
    if (attn_type === undefined) {
      throw new FileError(`Cannot read ${path}: line ${i + 2} must have a mode as "attn_type"`);
    }
    const given = OPTIONS.flatMap((name) => {
      const value = cell(name === "density" ? ASKED_DENSITY : name);
      return value === "" ? [] : [[name, valueOf(value)]];
    });
    const setting: Setting = { attn_type, ...Object.fromEntries(given) };
    const meanOf = (name: string, error: string) => {
      if (cell(name) === "") return undefined;
      return { mean: measured(name), stderr: measured(error), count: measured("samples") };
    };
    return [{
      ...{ name: cell("setting"), setting, length: measured("length"), options: {} },
      method: methodOf(setting).replace("by density", tableName(cell("setting"))),
      ...{ exact: cell("exact"), tasks: [], sampleCount: measured("samples") },
      ...{ mean: meanOf("score", "stderr"), density: measured("density") },
      ...{ seconds: measured("seconds"), delta: meanOf("delta", "delta_stderr") },
    }];
  });
}

/** What shares for each head were chosen by. */
function tableName(setting: string): string {
  return setting.includes("_answers") ? "shares by answers" : "shares by kept attention";
}

/** A number, unless it is `share:X` or `1/4`. */
function valueOf(text: string): number | string {
  return Number.isNaN(Number(text)) ? text : Number(text);
}

/** A chart that is legible by itself: the page that has its colours is not around it. */
export function pictureOf(svg: string): string {
  return withVariables(svg).replace(
    /^<svg[^>]*>/,
    (tag) => `${tag}<style>${PICTURE_STYLE}</style>`,
  );
}

async function main(): Promise<void> {
  const rows = readRows(await Deno.readTextFile(CSV), CSV);
  const kind = { value: "delta", cost: "density" } as const;
  const points = sweepPoints(rows, kind);
  const methods = [...new Set(points.map(({ method }) => method))];
  const [svg = ""] = await drawCharts([sweepChart(points, { ...kind, methods })]);
  await Deno.writeTextFile(SVG, `${pictureOf(svg)}\n`);
}

if (import.meta.main) await main();
