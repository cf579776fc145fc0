/**
 * Collects the summaries of all lengths of an experiment into tables.
 *
 * Follows `ruler/gather_results_ruler.py` of NVIDIA/Star-Attention, its output byte for byte; the
 * quotation mark that nothing closes in its `Unfinished Tasks` line is part of that.
 *
 * @module
 */
import { FileError } from "../lib/errors.ts";
import { readLines } from "../lib/text_file.ts";
import { listLengths } from "./lengths.ts";
import { center, codePointCount, strip } from "./python/text.ts";

/** The rows of a `summary.csv`, a cell per task. */
export interface Summary {
  readonly tasks: readonly string[];
  /** A mean, or `n/a`. */
  readonly scores: readonly string[];
  /** Predictions without text and samples: `0/500`. */
  readonly nulls: readonly string[];
}

/** The original counts a task with fewer or more samples as unfinished. */
const FULL_SAMPLES = "/500";

/**
 * The tables of an experiment, one per length, then all scores as comma-separated values.
 *
 * @param folder The experiment: a folder per length, named by its tokens, with a `summary.csv`.
 * @returns What the original prints.
 * @throws {FileError} If the folder or a summary cannot be read, or a summary is damaged.
 */
export async function gatherExperiment(folder: string): Promise<string> {
  const missing: string[] = [];
  const csv: string[] = [];
  let text = "";
  for (const { name: length } of await listLengths(folder)) {
    const path = `${folder}/${length}/summary.csv`;
    if (!(await exists(path))) {
      missing.push(length);
      continue;
    }
    const summary = await readSummary(path);
    text += formatSummary(length, summary);
    csv.push([length, ...summary.scores].join(","));
  }
  if (missing.length > 0) {
    text += `\n++ Missing sequence length experiments: ${missing.join(", ")} ++\n`;
  }
  return `${text}\nFull CSV:\n${csv.map((line) => `${line}\n`).join("")}`;
}

async function exists(path: string): Promise<boolean> {
  try {
    await Deno.stat(path);
    return true;
  } catch {
    return false;
  }
}

/** Thirteen tasks have some 300 bytes. */
const MAX_SUMMARY_BYTES = 2 ** 24;

/** Reads a `summary.csv`. @throws {FileError} If it cannot be read, or is damaged. */
export async function readSummary(path: string): Promise<Summary> {
  const rows: string[][] = [];
  for await (const line of readLines(path, { maxBytes: MAX_SUMMARY_BYTES })) {
    rows.push(strip(line).split(",").slice(1));
  }
  const [, tasks = [], scores = [], nulls = []] = rows;
  if (tasks.length === 0 || scores.length !== tasks.length || nulls.length !== tasks.length) {
    throw new FileError(
      `Cannot read ${path} as its rows must be equally long: found ${tasks.length} tasks, ` +
        `${scores.length} scores, ${nulls.length} null counts`,
    );
  }
  return { tasks, scores, nulls };
}

function formatSummary(length: string, summary: Summary): string {
  const { tasks, scores, nulls } = summary;
  const width = Math.max(...tasks.map(codePointCount));
  const row = (cells: readonly string[]) => cells.map((cell) => center(cell, width)).join(" | ");
  const lines = [
    `\nSequence Length: ${length}`,
    row(tasks),
    "-".repeat(tasks.length * (width + 3) - 3),
    row(scores),
    row(nulls),
    "",
  ];
  const unfinished = tasks.filter((_, index) => !nulls[index]?.endsWith(FULL_SAMPLES));
  if (unfinished.length > 0) lines.push(`== "Unfinished Tasks: ${unfinished.join(", ")} ==\n`);
  return lines.map((line) => `${line}\n`).join("");
}
