/**
 * Results in the form in which EleutherAI's lm-evaluation-harness writes them, for tools that read
 * it: `results_<date>.json` and `samples_<task>_<date>.jsonl`, RULER's lengths being metrics, as in
 * its task `ruler`. Scores are 0 to 1 there.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { replaceFile } from "../../lib/files.ts";
import { JsonLinesWriter } from "../../lib/jsonl.ts";
import type { MeanScore } from "../../ruler/scores.ts";
import { VERSION } from "../shared/version.ts";
import { ALL_TASKS, suiteOf } from "../suites/all.ts";
import { tidyCsv } from "./formats.ts";
import type { Experiment, LengthResults, SampleResult, TaskResult } from "./experiment.ts";

/** How many drawings a standard error is made of. */
const BOOTSTRAP_ROUNDS = 1000;

/** When the results were written, and how long the run took. */
export interface HarnessTimes {
  readonly date: Date;
  readonly seconds: number;
}

/**
 * Writes an experiment's results beside its lengths: `results_<date>.json`, `results.csv`, and with
 * `withSamples` a file of samples per task.
 *
 * @returns The paths of the files.
 * @throws {FileError} If one cannot be written.
 */
export async function writeResults(
  experiment: Experiment,
  options: HarnessTimes & { withSamples: boolean },
): Promise<readonly string[]> {
  const { folder } = experiment;
  const stamp = options.date.toISOString().slice(0, 19).replaceAll(":", "-");
  const json = `${folder}/results_${stamp}.json`;
  await replaceFile(json, [`${JSON.stringify(harnessResults(experiment, options), null, 2)}\n`]);
  const csv = `${folder}/results.csv`;
  await replaceFile(csv, [tidyCsv([experiment])]);
  const paths = [json, csv];
  for (const task of options.withSamples ? tasksOf(experiment) : []) {
    const path = `${folder}/samples_${task}_${stamp}.jsonl`;
    const lines = experiment.lengths.flatMap((length) =>
      length.tasks.filter((result) => result.task === task).flatMap(sampleLines)
    );
    await replaceFile(path, lines.map((line) => `${JSON.stringify(line)}\n`));
    paths.push(path);
  }
  return paths;
}

/** Tasks in the order of RULER's. */
function tasksOf({ lengths }: Experiment): string[] {
  const found = new Set(lengths.flatMap(({ tasks }) => tasks.map(({ task }) => task)));
  const own = [...found].filter((task) => !ALL_TASKS.includes(task));
  return [...ALL_TASKS.filter((task) => found.has(task)), ...own];
}

/** The object that `results_<date>.json` holds. */
function harnessResults(
  experiment: Experiment,
  times: HarnessTimes,
): Record<string, unknown> {
  const tasks = tasksOf(experiment);
  const { record } = experiment.lengths.at(-1) ?? {};
  const session = record?.sessions?.at(-1);
  const byTask = <T>(of: (task: string) => T): Record<string, T> =>
    Object.fromEntries(tasks.map((task) => [task, of(task)]));
  const suite = suiteOf(tasks[0] ?? "")?.name ?? "ruler";
  const limit = record?.unchecked.num_samples_per_task ?? null;
  return {
    results: byTask((task) => ({ alias: task, ...metricsOf(experiment, task) })),
    group_subtasks: { [suite]: tasks },
    configs: byTask((task) => ({
      task,
      dataset_path: suite,
      output_type: "generate_until",
      num_fewshot: 0,
      metric_list: [{ metric: suiteOf(task)?.metricName(task) ?? null }],
      metadata: {
        version: 1,
        max_seq_lengths: experiment.lengths.map(({ maxTokens }) => maxTokens),
        data: dataOf(experiment, task),
      },
    })),
    versions: byTask(() => 1),
    "n-shot": byTask(() => 0),
    higher_is_better: byTask((task) =>
      Object.fromEntries(lengthsOf(experiment, task).map((length) => [length, true]))
    ),
    "n-samples": byTask((task) => countsOf(experiment, task)),
    config: {
      model: "starx",
      model_args: { pretrained: record?.model.path ?? null, ...record?.options },
      unchecked: record?.unchecked ?? {},
      device: record?.options.device ?? null,
      batch_size: record?.unchecked.batch_size ?? 1,
      limit,
      bootstrap_iters: BOOTSTRAP_ROUNDS,
      gen_kwargs: null,
      command: session?.command ?? null,
    },
    git_hash: session?.commit ?? null,
    date: times.date.getTime() / 1000,
    pretty_env_info: environment(session),
    model_source: "starx",
    model_name: record?.model.path ?? experiment.name,
    model_name_sanitized: experiment.name,
    model_sha256: record?.model.sha256 ?? null,
    tokenizer_sha256: record?.model.tokenizer ?? null,
    kernels_sha256: record?.kernels ?? null,
    starx_version: record?.version ?? VERSION,
    total_evaluation_time_seconds: String(times.seconds),
  };
}

function environment(session: { host: string; device: string; deno: string } | undefined): string {
  const { os, arch } = Deno.build;
  const { host = "unknown", device = "unknown", deno = Deno.version.deno } = session ?? {};
  return `Deno ${deno} on ${os} ${arch}, host ${host}, ${device}`;
}

function resultsOf(experiment: Experiment, task: string): TaskResult[] {
  return experiment.lengths.flatMap(({ tasks }) => tasks.filter((result) => result.task === task));
}

function lengthsOf(experiment: Experiment, task: string): string[] {
  return resultsOf(experiment, task).map(({ maxTokens }) => String(maxTokens));
}

/** `"4096,none": 0.95, "4096_stderr,none": 0.02`. */
function metricsOf(experiment: Experiment, task: string): Record<string, number | string> {
  const entries = resultsOf(experiment, task).flatMap(({ maxTokens, mean }) =>
    mean === undefined ? [] : metricEntries(maxTokens, mean)
  );
  return Object.fromEntries(entries);
}

function metricEntries(length: number, score: MeanScore): [string, number | string][] {
  const { mean, stderr } = score;
  return [
    [`${length},none`, mean / 100],
    [`${length}_stderr,none`, stderr === undefined ? "N/A" : stderr / 100],
  ];
}

function countsOf(experiment: Experiment, task: string): { original: number; effective: number } {
  const results = resultsOf(experiment, task);
  const original = experiment.lengths.reduce(
    (sum, { record }) => sum + (record?.data[task]?.samples ?? 0),
    0,
  );
  const effective = results.reduce(
    (sum, { mean, samples }) => sum + (mean?.count ?? samples.length),
    0,
  );
  return { original: Math.max(original, effective), effective };
}

function dataOf(experiment: Experiment, task: string): Record<string, unknown> {
  return Object.fromEntries(
    experiment.lengths.map(({ maxTokens, record }: LengthResults) => [
      maxTokens,
      record?.data[task] ?? null,
    ]),
  );
}

/** Contexts are left out: `doc_hash` tells them apart, and the data's file holds them. */
function sampleLines(result: TaskResult): Record<string, unknown>[] {
  return result.samples.map((sample) => ({
    doc_id: sample.index,
    doc: { index: sample.index, max_length: result.maxTokens, outputs: sample.answers },
    target: sample.answers,
    arguments: { gen_args_0: { arg_0: promptEnd(sample), arg_1: {} } },
    resps: [[sample.prediction]],
    filtered_resps: [sample.prediction],
    filter: "none",
    metrics: [String(result.maxTokens)],
    doc_hash: sha256(JSON.stringify([sample.index, sample.query, sample.answers])),
    prompt_hash: sha256(promptEnd(sample)),
    target_hash: sha256(JSON.stringify(sample.answers)),
    [String(result.maxTokens)]: sample.score === undefined ? null : sample.score / 100,
  }));
}

function promptEnd({ contextTail, query }: SampleResult): string {
  return contextTail + query;
}

function sha256(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}

/** A line for each sample as it is finished: `events.jsonl` in an experiment's folder. */
export class EventLog implements Disposable {
  readonly #writer: JsonLinesWriter;

  private constructor(writer: JsonLinesWriter) {
    this.#writer = writer;
  }

  /** Opens an experiment's file. @throws {FileError} If it cannot be written. */
  static async open(folder: string): Promise<EventLog> {
    return new EventLog(await JsonLinesWriter.open(`${folder}/events.jsonl`));
  }

  /** Appends a finished sample. @throws {FileError} If the disk is full or fails. */
  async add(event: {
    readonly task: string;
    readonly length: number;
    readonly sample: number;
    readonly score: number | undefined;
    readonly mean: number | undefined;
    readonly seconds: number;
    readonly generatedTokens: number;
  }): Promise<void> {
    await this.#writer.append({ time: new Date().toISOString(), ...event });
  }

  [Symbol.dispose](): void {
    this.#writer[Symbol.dispose]();
  }
}
