/**
 * Scores the predictions of one length and writes `summary.csv` and `submission.csv`.
 *
 * Follows `ruler/eval/evaluate.py` of NVIDIA/Star-Attention, its output byte for byte, with two
 * exceptions: all files are read before any is written; where the original ends with an exception
 * because samples have no answers, the score is `n/a`.
 *
 * @module
 */
import { FileError, invariant } from "../lib/errors.ts";
import { replaceFile } from "../lib/files.ts";
import { formatCsv, formatFrame, USUAL_COLUMNS } from "./csv.ts";
import { type Prediction, sampleScore, scorePredictions, type TaskMetric } from "./metrics.ts";
import { idCells, joinChunks, listPredictions, readRecords, readSamples } from "./predictions.ts";
import { floatRepr } from "./python/float.ts";
import { listRepr } from "./python/text.ts";
import { TASK_METRICS } from "./tasks.ts";
import type { JsonValue } from "./python/json_text.ts";

/** What a task scored. */
export interface TaskScore {
  /** Its name. */
  readonly task: string;
  /** 0 to 100; undefined if there is nothing to compare with. */
  readonly score: number | undefined;
  /** Why there is no score. */
  readonly reason?: string;
  /** How many predictions are empty. */
  readonly nullCount: number;
  /** How many predictions there are. */
  readonly sampleCount: number;
  /** What each sample scored, 0 to 100; absent where there is no score. */
  readonly values?: readonly number[];
}

/** Options of {@linkcode evaluateFolder}. */
export interface EvaluateFolderOptions {
  /** Takes what the original prints to stdout, newlines included. */
  readonly print: (text: string) => void;
  /**
   * The width of the terminal that is printed to, to which pandas cuts its table.
   *
   * @default {80}
   */
  readonly terminalColumns?: number | undefined;
  /** Only the first samples of each task; by default all. */
  readonly limit?: number | undefined;
  /** The metrics of tasks that RULER does not have. */
  readonly metrics?: Readonly<Record<string, TaskMetric>> | undefined;
  /** The metric of every task, in place of its own. Tasks that RULER does not have are scored, too. */
  readonly metric?: TaskMetric | undefined;
}

/** What {@linkcode evaluateFolder} found and wrote. */
export interface FolderScores {
  /** In the order of the tasks. */
  readonly scores: readonly TaskScore[];
  /** `summary.csv`, or `summary-<task>.csv` if there is only one task. */
  readonly summaryPath: string;
  /** `submission.csv`. */
  readonly submissionPath: string;
}

interface TaskResult extends TaskScore {
  readonly texts: readonly string[];
  readonly ids: readonly JsonValue[];
}

/** RULER's cwe has no answers below about 15,500 tokens: its ten words alone are too long. */
const CWE_HINT = " (with the frequencies 300 and 30 cwe needs about 15,500 tokens; " +
  "--cwe_freq 30 3 makes a usable task)";

/**
 * Scores every task whose predictions lie in a folder; files in chunks are joined.
 *
 * @param folder The results of one length: `<task>.jsonl` files.
 * @param options What is printed.
 * @returns The scores in the order of the tasks, and the files written.
 * @throws {FileError} If the folder or a file cannot be read, a line is not whole, no task is
 * known, or a file cannot be written. Until every line was read, nothing is written.
 */
export async function evaluateFolder(
  folder: string,
  options: EvaluateFolderOptions,
): Promise<FolderScores> {
  const { print } = options;
  const root = folder.replace(/\/+$/, "") || "/";
  const { tasks, chunks } = await listPredictions(root);
  const pathsOf = (task: string): string[] =>
    (chunks.get(task) ?? [`${task}.jsonl`]).map((name) => `${root}/${name}`);
  const known = knownTasks(options, [...tasks, ...chunks.keys()]);
  if (!known.some(([task]) => tasks.has(task) || chunks.has(task))) {
    throw new FileError(`Cannot evaluate ${folder} as it must hold predictions: found no task's`);
  }
  print(`Total tasks: ${listRepr(known.map(([task]) => task))}\n`);
  const results: TaskResult[] = [];
  for (const [task, metric] of known) {
    if (!tasks.has(task) && !chunks.has(task)) {
      print(`Prediction file ${task}.jsonl is not found.\n`);
      continue;
    }
    print(`Evaluate task ${task}...\n`);
    results.push(await evaluateTask(task, pathsOf(task), { ...options, metric }));
  }
  for (const task of chunks.keys()) {
    if (!known.some(([name]) => name === task)) {
      for await (const _ of readRecords(pathsOf(task)));
    }
  }
  for (const [task, names] of chunks) await joinChunks(root, task, { names });
  return await writeResults(folder, results, options);
}

/** The tasks that can be scored: RULER's; with a metric for all, whatever lies there. */
function knownTasks(
  options: Pick<EvaluateFolderOptions, "metric" | "metrics">,
  names: readonly string[],
): readonly (readonly [string, TaskMetric])[] {
  const { metric, metrics = {} } = options;
  if (metric === undefined) return Object.entries({ ...TASK_METRICS, ...metrics });
  return [...new Set(names)].sort().map((name) => [name, metric] as const);
}

async function evaluateTask(
  task: string,
  paths: readonly string[],
  options: EvaluateFolderOptions & { metric: TaskMetric },
): Promise<TaskResult> {
  const { print, metric, limit = Infinity } = options;
  const texts: string[] = [];
  const ids: JsonValue[] = [];
  const queries: string[] = [];
  const answers: (readonly (string | null)[])[] = [];
  for await (const sample of readSamples(paths)) {
    if (texts.length >= limit) break;
    texts.push(sample.text);
    ids.push(sample.id);
    queries.push(sample.query);
    answers.push(sample.answers);
  }
  const outcome = scoreTask(task, texts, {
    ...{ metric, answers, queries },
    path: paths.join(", "),
  });
  if (outcome.reason !== undefined) print(`Task ${task} has no score: ${outcome.reason}\n`);
  const nullCount = texts.filter((text) => text === "").length;
  return { task, ...outcome, nullCount, sampleCount: texts.length, texts, ids };
}

interface ScoreTaskOptions {
  readonly metric: TaskMetric;
  readonly queries: readonly string[];
  readonly answers: readonly (readonly (string | null)[])[];
  readonly path: string;
}

function scoreTask(
  task: string,
  texts: readonly string[],
  options: ScoreTaskOptions,
): { score: number | undefined; reason?: string; values?: readonly number[] } {
  const { metric, answers, queries, path } = options;
  // As in the original, a first answer of null means that the data is not labelled at all.
  if (answers.length === 0 || answers[0]?.[0] === null) return { score: 0 };
  const missing = answers.findIndex((list) => list.length === 0);
  if (missing >= 0) {
    const hint = task === "cwe" ? CWE_HINT : "";
    return { score: undefined, reason: `sample ${missing + 1} has no answers${hint}` };
  }
  const predictions = texts.map((text, index): Prediction => ({
    text,
    query: queries[index] ?? "",
    answers: (answers[index] ?? []).map((answer) => {
      if (answer !== null) return answer;
      throw new FileError(`Cannot read ${path}: sample ${index + 1} has an answer that is null`);
    }),
  }));
  return {
    score: scorePredictions(metric, predictions),
    values: predictions.map((prediction) => sampleScore(metric, prediction) * 100),
  };
}

async function writeResults(
  folder: string,
  results: readonly TaskResult[],
  options: EvaluateFolderOptions,
): Promise<FolderScores> {
  const { print, terminalColumns = USUAL_COLUMNS } = options;
  const [first] = results;
  invariant(first, "a folder without tasks was refused");
  const join = folder.endsWith("/") ? folder : `${folder}/`;
  const summary = [
    ["Tasks", ...results.map(({ task }) => task)],
    ["Score", ...results.map(({ score }) => score === undefined ? "n/a" : floatRepr(score))],
    ["Nulls", ...results.map(({ nullCount, sampleCount }) => `${nullCount}/${sampleCount}`)],
  ];
  const summaryPath = join + (results.length > 1 ? "summary.csv" : `summary-${first.task}.csv`);
  const header = Array.from({ length: results.length + 1 }, (_, column) => String(column));
  await replaceFile(summaryPath, [formatCsv([header, ...summary])]);
  print(`\n${"=".repeat(45)}\n\n${formatFrame(summary, terminalColumns)}\n`);
  print(`\nSaved eval results to ${summaryPath}\n`);

  const submissionPath = `${join}submission.csv`;
  const rows = results.flatMap(({ task, texts, ids }) => {
    const cells = idCells(ids);
    return texts.map((text, index) => [task, cells[index] ?? "", text]);
  });
  await replaceFile(submissionPath, [formatCsv([["Task", "ID", "Prediction"], ...rows])]);
  print(`\nSaved submission results to ${submissionPath}\n`);
  const scores = results.map(({ texts: _texts, ids: _ids, ...score }) => score);
  return { scores, summaryPath, submissionPath };
}
