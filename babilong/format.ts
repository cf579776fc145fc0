/**
 * Prompts from rows (NVIDIA/Star-Attention, `babilong/prompts.py` and `prepare_data.py`).
 *
 * @module
 */
import { dumpJsonText } from "../ruler/python/json_text.ts";
import { strip } from "../ruler/python/text.ts";
import type { Around, BabilongPrompt, BabilongRow, BabilongSample } from "./model.ts";
import { PROMPTS_1_TO_8 } from "./prompts_1_to_8.ts";
import { PROMPTS_9_TO_20 } from "./prompts_9_to_20.ts";

/** The prompts of all tasks. */
export const PROMPTS: Readonly<Record<string, BabilongPrompt>> = {
  ...PROMPTS_1_TO_8,
  ...PROMPTS_9_TO_20,
};

/**
 * Context and query of a row. The original strips both with the model's template around them, so that
 * a template's line feeds at the end are gone: kept.
 *
 * @param row A row of the data set.
 * @param options The task's prompt, and the model's template.
 */
export function formatPrompt(
  row: Pick<BabilongRow, "input" | "question">,
  options: { prompt: BabilongPrompt; around: Around },
): { context: string; query: string } {
  const { instruction, examples, postPrompt } = options.prompt;
  const { before, after } = options.around;
  const context = `${before}${instruction}\n\n${examples}\n\n${postPrompt}\n\n` +
    `<context>\n${strip(row.input)}\n</context>`;
  return {
    context: `${strip(context)}\n\n`,
    query: strip(`Question: ${row.question}${after}`),
  };
}

/** A sample's line, as Python's `json.dumps` writes it, with its line feed. */
export function formatLine(sample: BabilongSample): string {
  const { index, context, query, answers } = sample;
  return `{"index": ${index}, "input_context": ${dumpJsonText(context)}, ` +
    `"input_query": ${dumpJsonText(query)}, "outputs": ${dumpJsonText([...answers])}}\n`;
}
