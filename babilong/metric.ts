/**
 * Whether an answer is right (NVIDIA/Star-Attention, `babilong/metrics.py`): of the task's labels it
 * must name the target alone; labels that the question names do not count.
 *
 * @module
 */
import { strip } from "../ruler/python/text.ts";
import { TASK_LABELS } from "./tasks.ts";

/** What `gather_results_babilong.py` takes off a query before it looks for labels there. */
const ASSISTANT = "<|eot_id|><|start_header_id|>assistant<|end_header_id|>";
/** A target with a comma and more letters than this has several parts; `e,n` is one label. */
const LONGEST_PAIR = 3;

/** A prediction and what it is compared with. */
export interface BabilongAnswer {
  readonly target: string;
  readonly output: string;
  readonly question: string;
}

/**
 * Compares as the original does. Its cut at `Question` comes after all letters were made small, so
 * that it never cuts: kept.
 *
 * @param task One of {@linkcode TASK_LABELS}.
 */
export function isRight(task: string, answer: BabilongAnswer): boolean {
  const output = firstSentence(answer.output);
  const target = answer.target.toLowerCase();
  const question = answer.question.toLowerCase();
  const labels = new Set((TASK_LABELS[task] ?? []).map((label) => label.toLowerCase()));
  const named = [...labels].filter((label) => output.includes(label) && !question.includes(label));
  const isSeveral = target.includes(",") && target.length > LONGEST_PAIR;
  const parts = isSeveral ? target.split(",") : [target];
  return named.length === parts.length && parts.every((part) => named.includes(part));
}

/** The question as the original looks at it: works for Llama's templates only. */
export function questionOf(query: string): string {
  return strip(query.replaceAll(ASSISTANT, ""));
}

function firstSentence(output: string): string {
  const [sentence = ""] = output.toLowerCase().split(".");
  const [text = ""] = sentence.split("<context>");
  return text.split("<example>")[0] ?? "";
}
