/**
 * The scores of an experiment as `babilong/gather_results_babilong.py` of NVIDIA/Star-Attention
 * prints them, and its heat map.
 *
 * @module
 */
import { FileError } from "../lib/errors.ts";
import { isFolder } from "../lib/files.ts";
import { readRecords } from "../ruler/predictions.ts";
import type { JsonValue } from "../ruler/python/json_text.ts";
import { isRight, questionOf } from "./metric.ts";
import { SPLITS } from "./tasks.ts";

/** Fewer records count as unfinished, as in the original. */
const FULL_RECORDS = 999;

/** What {@linkcode gatherBabilong} takes. */
export interface GatherOptions {
  readonly tasks: readonly string[];
  readonly splits: readonly string[];
}

/** What it finds. */
export interface BabilongScores {
  /** What the original prints. */
  readonly text: string;
  /** Per task and split, 0 to 100; -1 where there are no results. */
  readonly accuracy: readonly (readonly number[])[];
}

/**
 * Scores all results of an experiment.
 *
 * @param folder Holds a folder per split, named as it (`16k`) or by its tokens (`16384`).
 * @throws {FileError} If a record is damaged.
 */
export async function gatherBabilong(
  folder: string,
  options: GatherOptions,
): Promise<BabilongScores> {
  const { tasks, splits } = options;
  const missing = new Map<string, string[]>();
  const incomplete = new Map<string, string[]>();
  const note = (notes: Map<string, string[]>, task: string, split: string): void =>
    void notes.set(task, [...notes.get(task) ?? [], split]);
  const accuracy: number[][] = [];
  for (const task of tasks) {
    const scores: number[] = [];
    for (const split of splits) {
      let score = -1;
      const results = await splitFolder(folder, split);
      const size = results === undefined ? undefined : await sizeOf(`${results}/${task}.jsonl`);
      if (size !== undefined && size > 0) {
        const { values } = await scoreFile(`${results}/${task}.jsonl`, task);
        const { length: count } = values;
        const right = values.filter((value) => value > 0).length;
        if (count < FULL_RECORDS) note(incomplete, task, split);
        score = count === 0 ? 0 : 100 * right / count;
      } else if (results !== undefined) {
        note(size === undefined ? missing : incomplete, task, split);
      }
      scores.push(score);
    }
    accuracy.push(scores);
  }
  const rows = splits.map((split, i) =>
    [split, ...accuracy.map((scores) => String(Math.trunc(scores[i] ?? -1)))].join(",")
  );
  const lines = [
    ...rows,
    ...unfinished(missing, "Missing Experiments"),
    ...unfinished(incomplete, "Incomplete Experiments"),
  ];
  return { text: lines.map((line) => `${line}\n`).join(""), accuracy };
}

function unfinished(notes: ReadonlyMap<string, readonly string[]>, title: string): string[] {
  if (notes.size === 0) return [];
  return [`\n${title}:`, ...[...notes].map(([task, splits]) => `${task}: ${splits.join(" ")}`)];
}

/** What each record of a file scores, 0 or 100. @throws {FileError} If one is damaged. */
export async function scoreFile(
  path: string,
  task: string,
  options: { limit?: number } = {},
): Promise<{ values: number[]; nullCount: number }> {
  const { limit = Infinity } = options;
  const values: number[] = [];
  let nullCount = 0;
  for await (const { record } of readRecords([path])) {
    if (values.length >= limit) break;
    const output = textOf(record.get("pred"));
    if (output.trim() === "") nullCount++;
    const outputs = record.get("outputs");
    const target = Array.isArray(outputs) ? outputs[0] : undefined;
    if (typeof target !== "string") {
      throw new FileError(
        `Cannot score ${path}: record ${values.length + 1} must have a text in 'outputs'`,
      );
    }
    const question = questionOf(textOf(record.get("input_query")));
    values.push(isRight(task, { target, output, question }) ? 100 : 0);
  }
  return { values, nullCount };
}

function textOf(value: JsonValue | undefined): string {
  return typeof value === "string" ? value : "";
}

/** The folder of a split's results, by either of its names. */
async function splitFolder(folder: string, split: string): Promise<string | undefined> {
  const tokens = [...SPLITS].find(([, name]) => name === split)?.[0];
  for (const name of [split, String(tokens)]) {
    const path = `${folder}/${name}`;
    if (await isFolder(path)) return path;
  }
  return undefined;
}

async function sizeOf(path: string): Promise<number | undefined> {
  return await Deno.stat(path).then(
    ({ isFile, size }) => isFile ? size : undefined,
    () => undefined,
  );
}

const CELL = { width: 90, height: 44 } as const;
const MARGIN = { left: 70, top: 40, bottom: 50, right: 20 } as const;

/** The accuracy per task and split as a picture, red to green as in the original (SVG). */
export function heatMap(
  accuracy: readonly (readonly number[])[],
  options: GatherOptions & { title: string },
): string {
  const { tasks, splits, title } = options;
  const width = MARGIN.left + splits.length * CELL.width + MARGIN.right;
  const height = MARGIN.top + tasks.length * CELL.height + MARGIN.bottom;
  const text = (x: number, y: number, content: string): string =>
    `<text x="${x}" y="${y}">${escaped(content)}</text>`;
  const cells = tasks.flatMap((task, row) => {
    const y = MARGIN.top + row * CELL.height;
    const middle = y + CELL.height / 2 + 5;
    return [
      text(MARGIN.left / 2, middle, task),
      ...splits.flatMap((_, column) => {
        const score = accuracy[row]?.[column] ?? -1;
        const x = MARGIN.left + column * CELL.width;
        const size = `width="${CELL.width - 1}" height="${CELL.height - 1}"`;
        return [
          `<rect x="${x}" y="${y}" ${size} fill="${score < 0 ? "#ddd" : colour(score)}"/>`,
          text(x + CELL.width / 2, middle, score < 0 ? "" : score.toFixed(0)),
        ];
      }),
    ];
  });
  const bottom = height - MARGIN.bottom + 20;
  const names = splits.map((split, column) =>
    text(MARGIN.left + (column + 0.5) * CELL.width, bottom, split)
  );
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" ` +
    `font-family="sans-serif" font-size="13" text-anchor="middle">\n` +
    [
      `<rect width="${width}" height="${height}" fill="white"/>`,
      text(width / 2, 24, title),
      ...cells,
      ...names,
      text(width / 2, bottom + 20, "Context size"),
    ].join("\n") + "\n</svg>\n";
}

/** Red at 0, yellow at 50, green at 100. */
function colour(score: number): string {
  const share = Math.min(100, Math.max(0, score)) / 50;
  const [red, green] = share < 1
    ? [255, 255 * share]
    : [255 * (2 - share), 128 + 127 * (2 - share)];
  return `rgb(${Math.round(red)},${Math.round(green)},0)`;
}

function escaped(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}
