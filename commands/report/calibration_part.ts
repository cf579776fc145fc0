/**
 * A file of `calibrate` in a report: what each head computes and keeps with one threshold for all, and
 * with those that were found.
 *
 * @module
 */
import { basename } from "node:path";
import { FileError } from "../../lib/errors.ts";
import { isJsonObject, readJsonFile } from "../../lib/text_file.ts";
import { meanOf } from "../results/experiment.ts";
import { headChart } from "./charts.ts";
import { type Html, markup, table } from "./markup.ts";
import type { HeadRow } from "./model.ts";
import type { Chart, ReportPart } from "./part.ts";

/** No model has thresholds for more. */
const MAX_BYTES = 1 << 26;

/** [layers][query heads]. */
type HeadTable = readonly (readonly number[])[];

/** What a selection computes and keeps, head by head. */
interface KeptTables {
  readonly density: HeadTable;
  readonly kept: HeadTable;
}

/** What the file of `calibrate` says. */
export interface Calibration {
  readonly path: string;
  readonly thresholds: HeadTable;
  /** Whether they are shares that each tile must hold by itself. */
  readonly isByShare: boolean;
  /** The number for all heads, or `share:X`. */
  readonly threshold: number | string | undefined;
  readonly before: KeptTables;
  readonly after: KeptTables;
  readonly goal: unknown;
  readonly made: unknown;
}

/**
 * Reads a file of `calibrate`.
 *
 * @throws {FileError} If it is none.
 */
export async function readCalibration(path: string): Promise<Calibration> {
  const value = await readJsonFile(path, { maxBytes: MAX_BYTES });
  const { layers, rule, before, after, goal, made } = isJsonObject(value) ? value : {};
  const isKept = isKeptTables(before) && isKeptTables(after);
  if (!isTable(layers) || !isKept) {
    throw new FileError(
      `Cannot report on ${path} as it must be a file of calibrate, with "layers", "before" and ` +
        `"after"`,
    );
  }
  const { threshold } = before;
  const isOne = typeof threshold === "number" || typeof threshold === "string";
  const numbers = { thresholds: layers, threshold: isOne ? threshold : undefined };
  return { path, ...numbers, isByShare: rule === "share", before, after, goal, made };
}

function isTable(value: unknown): value is HeadTable {
  return Array.isArray(value) &&
    value.every((row) => Array.isArray(row) && row.every((one) => typeof one === "number"));
}

function isKeptTables(value: unknown): value is KeptTables & { readonly threshold?: unknown } {
  return isJsonObject(value) && isTable(value.density) && isTable(value.kept);
}

/** @param index Tells several files of a page apart. */
export function calibrationPart(calibration: Calibration, index: number): ReportPart {
  const { path, threshold, before, after, thresholds, isByShare } = calibration;
  const found = isByShare ? SHARE : THRESHOLD;
  const names = [threshold === undefined ? "one threshold" : `${threshold} for all`, "by head"];
  const heat = (of: (kept: KeptTables) => HeadTable, words: Words): Chart => ({
    spec: headChart(
      [before, after].flatMap((kept, i) => headRows(of(kept), names[i] ?? "")),
      names,
      words,
    ),
    ...words,
  });
  const name = basename(path);
  return {
    id: `calibration-${index}`,
    link: `${found.title} ${name}`,
    title: `${found.title} ${name}`,
    charts: [
      heat(({ density }) => density, DENSITY),
      heat(({ kept }) => kept, KEPT),
      { spec: headChart(headRows(thresholds, "by head"), ["by head"], found), ...found },
    ],
    body: (figures) =>
      markup`${meansTable([before, after], names)}${figures}${madeDetails(calibration)}`,
  };
}

/** What a chart is about. */
interface Words {
  readonly name: string;
  readonly caption: string;
  readonly legend: string;
  readonly what: string;
}

const DENSITY: Words = {
  name: "Density of each layer and head, before and after",
  caption:
    "The share of the causal tiles that a head computes, over the prompts of the calibration.",
  legend: "density",
  what: "of the causal tiles",
};
const KEPT: Words = {
  name: "Attention kept by each layer and head, before and after",
  caption: "The share of the exact attention that the computed tiles hold.",
  legend: "kept",
  what: "of the exact attention",
};
const LAST_LAYER =
  "The last layer selects nothing: of the context, only its keys and values are needed.";
const THRESHOLD: Words & { readonly title: string } = {
  title: "Thresholds",
  name: "Thresholds that were found",
  caption:
    `The share of a row's antidiagonal mass that the selected tiles must hold. ${LAST_LAYER}`,
  legend: "threshold",
  what: "of the antidiagonal mass",
};
const SHARE: Words & { readonly title: string; readonly scale: "sqrt" } = {
  title: "Shares",
  name: "Shares that were found",
  caption:
    "The share of a row's antidiagonal mass that a tile must hold by itself to be selected: the " +
    `smaller, the more tiles. ${LAST_LAYER}`,
  legend: "share",
  what: "of the antidiagonal mass",
  scale: "sqrt",
};

function headRows(table: HeadTable, experiment: string): HeadRow[] {
  return table.flatMap((heads, layer) =>
    heads.map((share, head) => ({ experiment, layer, head, share }))
  );
}

/** Means over layers and heads. */
function meansTable(tables: readonly KeptTables[], names: readonly string[]): Html {
  const cell = (values: HeadTable): Html =>
    markup`<td>${(meanOf(values.flat()) ?? 0).toFixed(3)}</td>`;
  const head = markup`<tr><th scope="col">thresholds</th><th scope="col">tiles</th>
<th scope="col">attention kept</th></tr>`;
  const body = tables.map(({ density, kept }, i) =>
    markup`<tr><th scope="row">${names[i] ?? ""}</th>${cell(density)}${cell(kept)}</tr>`
  );
  return table("Means over layers and heads", { head, body });
}

function madeDetails({ goal, made }: Calibration): Html {
  return markup`
    <details>
      <summary>What they were found with</summary>
      <pre>${JSON.stringify({ goal, made }, null, 2)}</pre>
    </details>
  `;
}
