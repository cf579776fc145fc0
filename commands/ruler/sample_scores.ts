/**
 * What single samples score, while a run goes on.
 *
 * @module
 */
import type { Generation } from "../../lib/engine/load_model.ts";
import type { TaskMetric } from "../../ruler/metrics.ts";
import { readRecords } from "../../ruler/predictions.ts";
import type { JsonValue } from "../../ruler/python/json_text.ts";
import { hasContent, type InputSample } from "../shared/samples.ts";
import { scoreOfSample } from "../suites/all.ts";

/** What a sample scored, 0 to 100; undefined if its data has no answers. */
export function scoreOf(
  sample: Pick<InputSample, "record" | "query">,
  generation: Pick<Generation, "text">,
  options: { task: string; metric?: TaskMetric | undefined },
): number | undefined {
  const answers = textsOf(sample.record.get("outputs") ?? [sample.record.get("output") ?? null]);
  const { query } = sample;
  const { task, metric } = options;
  return scoreOfSample(task, { prediction: generation.text, answers, query }, metric);
}

/**
 * What finished samples scored, in the order of their records.
 *
 * @throws {FileError} If a record cannot be read.
 */
export async function finishedScores(
  task: string,
  options: { path: string; limit: number; metric?: TaskMetric | undefined },
): Promise<number[]> {
  const values: number[] = [];
  if (!(await hasContent(options.path))) return values;
  let count = 0;
  for await (const { record } of readRecords([options.path])) {
    if (count++ >= options.limit) break;
    const value = scoreOfSample(task, {
      prediction: textOf(record.get("pred")),
      answers: textsOf(record.get("outputs") ?? []),
      query: textOf(record.get("input_query")),
    }, options.metric);
    if (value !== undefined) values.push(value);
  }
  return values;
}

function textOf(value: JsonValue | undefined): string {
  return typeof value === "string" ? value : "";
}

function textsOf(value: JsonValue): string[] {
  return Array.isArray(value) ? value.filter((item) => typeof item === "string") : [];
}
