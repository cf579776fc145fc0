/**
 * An experiment as it lies on disk: a folder of a benchmark's results, read as a whole.
 *
 * @module
 */
import { basename } from "node:path";
import { FileError } from "../../lib/errors.ts";
import { readJsonLines } from "../../lib/jsonl.ts";
import { isJsonObject } from "../../lib/text_file.ts";
import { listLengths } from "../../ruler/lengths.ts";
import { readRecords } from "../../ruler/predictions.ts";
import { JsonNumber, type JsonValue } from "../../ruler/python/json_text.ts";
import { type MeanScore, meanScore } from "../../ruler/scores.ts";
import { parseRunRecord, readRunFile, RUN_FILE, type RunRecord } from "../shared/run_record.ts";
import { hasContent } from "../shared/samples.ts";
import type { Metric } from "../../ruler/metrics.ts";
import { ALL_TASKS, scoreOfSample } from "../suites/all.ts";
import { readSummaries } from "./summaries.ts";

/** A finished sample. */
export interface SampleResult {
  /** Its place in the records, from 0 on. */
  readonly number: number;
  /** Its `index`. */
  readonly index: number | string;
  /** 0 to 100; undefined where the data has no answers. */
  readonly score: number | undefined;
  readonly prediction: string;
  readonly answers: readonly string[];
  /** The prompt's query, and the end of its context. */
  readonly query: string;
  readonly contextTail: string;
  /** `others` of its data, for example the depths of needles. */
  readonly others: ReadonlyMap<string, JsonValue>;
  /** Its line of the log; empty where that was lost. */
  readonly log: Readonly<Record<string, unknown>>;
}

/** A task at one length. */
export interface TaskResult {
  readonly task: string;
  readonly maxTokens: number;
  /** Undefined where there is nothing to compare with. */
  readonly mean: MeanScore | undefined;
  /** Empty where only a summary is left of them. */
  readonly samples: readonly SampleResult[];
  /** Means over the samples whose log is there. */
  readonly seconds: number | undefined;
  /** The share of the whole context's causal tiles that phase 1 computed. */
  readonly density: number | undefined;
}

/** A length of an experiment. */
export interface LengthResults {
  readonly maxTokens: number;
  readonly folder: string;
  /** `run.json`, where this program made the results. */
  readonly record: RunRecord | undefined;
  readonly tasks: readonly TaskResult[];
}

/** An experiment. */
export interface Experiment {
  /** Its folder's name. */
  readonly name: string;
  readonly folder: string;
  readonly lengths: readonly LengthResults[];
}

/** Characters of a prompt's end that are kept. */
const TAIL_CHARS = 600;

/**
 * Reads an experiment.
 *
 * @param folder Holds a folder per length, named by its tokens.
 * @throws {FileError} If it is no such folder, or a file in it is damaged.
 */
export async function readExperiment(folder: string): Promise<Experiment> {
  const lengths: LengthResults[] = [];
  for (const { name, maxTokens } of await listLengths(folder)) {
    const result = await readLength(`${folder}/${name}`, maxTokens);
    if (result.tasks.length > 0) lengths.push(result);
  }
  if (lengths.length === 0) {
    throw new FileError(
      `Cannot read results of ${folder}: it holds no length with a finished task`,
    );
  }
  return { name: basename(folder), folder, lengths };
}

async function readLength(folder: string, maxTokens: number): Promise<LengthResults> {
  const path = `${folder}/${RUN_FILE}`;
  const value = await readRunFile(path);
  const record = value === undefined ? undefined : parseRunRecord(value, path);
  const limit = record?.unchecked.num_samples_per_task;
  const tasks: TaskResult[] = [];
  const own = Object.keys(record?.data ?? {}).filter((task) => !ALL_TASKS.includes(task));
  for (const task of [...ALL_TASKS, ...own]) {
    if (!(await hasContent(`${folder}/${task}.jsonl`))) continue;
    const metric = record?.data[task]?.metric;
    const options = { maxTokens, metric, limit: typeof limit === "number" ? limit : Infinity };
    tasks.push(await readTask(folder, task, options));
  }
  if (tasks.length > 0) return { maxTokens, folder, record, tasks };
  const unknown = { samples: [], seconds: undefined, density: undefined };
  const summaries = await readSummaries(folder);
  const known = summaries.map((summary) => ({ ...summary, maxTokens, ...unknown }));
  return { maxTokens, folder, record, tasks: known };
}

async function readTask(
  folder: string,
  task: string,
  options: { maxTokens: number; limit: number; metric: Metric | undefined },
): Promise<TaskResult> {
  const { maxTokens, limit, metric } = options;
  const logs = await readLogs(`${folder}/logs/${task}/samples.jsonl`);
  const samples: SampleResult[] = [];
  for await (const { record } of readRecords([`${folder}/${task}.jsonl`])) {
    if (samples.length >= limit) break;
    samples.push(sampleOf(record, { task, number: samples.length, logs, metric }));
  }
  const scores = samples.flatMap(({ score }) => score ?? []);
  return {
    task,
    maxTokens,
    mean: scores.length === 0 ? undefined : meanScore(scores),
    samples,
    seconds: meanOf(samples.flatMap(({ log }) => numberOf(log.seconds))),
    density: meanOf(samples.flatMap(({ log }) => numberOf(log.share))),
  };
}

async function readLogs(path: string): Promise<Record<string, unknown>[]> {
  if (!(await hasContent(path))) return [];
  return await Array.fromAsync(
    readJsonLines(path),
    ({ value }) => isJsonObject(value) ? value : {},
  );
}

function sampleOf(
  record: ReadonlyMap<string, JsonValue>,
  place: {
    task: string;
    number: number;
    logs: readonly Record<string, unknown>[];
    metric: Metric | undefined;
  },
): SampleResult {
  const { task, number, logs, metric } = place;
  const log = logs[number] ?? {};
  const prediction = textOf(record.get("pred"));
  const outputs = record.get("outputs");
  const answers = Array.isArray(outputs) ? outputs.filter((text) => typeof text === "string") : [];
  const index = record.get("index");
  const others = record.get("others");
  return {
    number,
    index: index instanceof JsonNumber ? Number(index.text) : textOf(index),
    score: scoreOfSample(
      task,
      { prediction, answers, query: textOf(record.get("input_query")) },
      metric,
    ) ?? numberOf(log.score)[0],
    prediction,
    answers,
    query: textOf(record.get("input_query")),
    contextTail: textOf(record.get("input_context")).slice(-TAIL_CHARS),
    others: others instanceof Map ? others : new Map(),
    log,
  };
}

function textOf(value: JsonValue | undefined): string {
  return typeof value === "string" ? value : "";
}

function numberOf(value: unknown): number[] {
  return typeof value === "number" ? [value] : [];
}

/** The mean; undefined of nothing. */
export function meanOf(values: readonly number[]): number | undefined {
  if (values.length === 0) return undefined;
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
