/**
 * The table that a RULER run ends in.
 *
 * @module
 */
import { formatReport } from "../../ruler/report.ts";
import type { LengthResult } from "./ledger.ts";
import type { Statistics } from "./log.ts";

/**
 * Formats the scores of all lengths, the share of tiles computed, and the time per sample.
 *
 * @param results The lengths in the order of the columns.
 * @param options What stands above.
 * @returns Lines, each ending in a newline.
 */
export function formatResults(
  results: readonly LengthResult[],
  options: { title: string },
): string {
  const scored = results.filter(({ scores }) => scores.length > 0);
  const notes = [...wordsNote(results), ...results.flatMap(({ notes }) => notes)];
  const rows = [
    ["tiles computed", ...scored.map(({ statistics }) => shareCell(statistics))],
    ["s per sample", ...scored.map(({ statistics }) => secondsCell(statistics))],
  ];
  const table = formatReport(scored, { notes, rows });
  const lines = table === "" ? notes.map((note) => `${note}\n`).join("") : table;
  return `${options.title}\n\n${lines}`;
}

/** The share of the whole context's causal tiles, as a mean over the samples. */
function shareCell({ share, sampleCount }: Statistics): string {
  return sampleCount === 0 ? "" : (share / sampleCount).toFixed(2);
}

function secondsCell({ seconds, sampleCount }: Statistics): string {
  return sampleCount === 0 ? "" : (seconds / sampleCount).toFixed(2);
}

/** Names the tasks whose prompts are not those of others. */
function wordsNote(results: readonly LengthResult[]): string[] {
  const tasks = [...new Set(results.flatMap(({ builtinTasks }) => builtinTasks))];
  if (tasks.length === 0) return [];
  return [
    `words: builtin in ${
      tasks.join(", ")
    }: not comparable with published scores, as RULER's word ` +
    "lists are not on this machine (deno task data fetches them)",
  ];
}
