/**
 * What single samples score, while a run goes on.
 *
 * @module
 */
import type { Generation } from "../../lib/engine/load_model.ts";
import { cleanPrediction, sampleScore, TASK_METRICS } from "../../ruler/metrics.ts";
import { readSamples } from "../../ruler/predictions.ts";
import type { JsonValue } from "../../ruler/python/json_text.ts";
import { hasContent, type InputSample } from "../shared/samples.ts";

/** What a sample scored, 0 to 100; undefined if its data has no answers. */
export function scoreOf(
  task: string,
  sample: Pick<InputSample, "record">,
  generation: Pick<Generation, "text">,
): number | undefined {
  const answers = textsOf(sample.record.get("outputs") ?? [sample.record.get("output") ?? null]);
  return valueOf(task, { text: cleanPrediction(generation.text), answers });
}

/**
 * What finished samples scored, in the order of their records.
 *
 * @throws {FileError} If a record cannot be read.
 */
export async function finishedScores(
  task: string,
  options: { path: string; limit: number },
): Promise<number[]> {
  const values: number[] = [];
  if (!(await hasContent(options.path))) return values;
  let count = 0;
  for await (const { text, answers } of readSamples([options.path])) {
    if (count++ >= options.limit) break;
    const value = valueOf(task, { text, answers: textsOf([...answers]) });
    if (value !== undefined) values.push(value);
  }
  return values;
}

function valueOf(
  task: string,
  prediction: { text: string; answers: readonly string[] },
): number | undefined {
  const metric = Object.hasOwn(TASK_METRICS, task) ? TASK_METRICS[task] : undefined;
  if (metric === undefined || prediction.answers.length === 0) return undefined;
  return sampleScore(metric, prediction) * 100;
}

function textsOf(value: JsonValue): string[] {
  return Array.isArray(value) ? value.filter((item) => typeof item === "string") : [];
}
