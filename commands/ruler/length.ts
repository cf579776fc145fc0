/**
 * One length of a RULER run: its data, its predictions, its scores.
 *
 * @module
 */
import { resolve } from "node:path";
import { type CheckedPlan, usedRanks } from "../../lib/attention/plan.ts";
import { FileError, UsageError } from "../../lib/errors.ts";
import { JsonLinesWriter, recoverJsonLines } from "../../lib/jsonl.ts";
import type { Generation } from "../../lib/engine/load_model.ts";
import { evaluateFolder } from "../../ruler/evaluate.ts";
import { replaceFile } from "../../ruler/files.ts";
import type { ReportScore } from "../../ruler/report.ts";
import { makeFolder } from "../shared/folder.ts";
import type { ModelSession } from "../shared/model_session.ts";
import { blockCounts, predictFile } from "../shared/predict.ts";
import type { RunProgress } from "../shared/progress.ts";
import type { RulerOptions } from "./options.ts";
import { type DataMaker, findTaskData } from "./data.ts";
import { addStatistics, EMPTY_STATISTICS, readStatistics, type Statistics } from "./log.ts";
import { planOptions, uncheckedOptions } from "../shared/run_options.ts";
import {
  checkSameRun,
  type DataRecord,
  parseRunRecord,
  readRunFile,
  RUN_FILE,
  type RunRecord,
  writeRunFile,
} from "../shared/run_record.ts";
import { FinishedSamples, hasContent } from "../shared/samples.ts";
import type { Screen } from "../shared/screen.ts";
import { VERSION } from "../shared/version.ts";

/** A run: its checked options and what it works with. */
export interface RulerRun extends Omit<RulerOptions, "plan"> {
  readonly plan: CheckedPlan;
  readonly processCount: number;
  /** The experiment's folder. */
  readonly folder: string;
  readonly modelSha256: string;
  readonly maker: DataMaker;
  readonly session: ModelSession;
  readonly screen: Screen;
  readonly progress: RunProgress;
}

/** A task that can run. */
interface PreparedTask {
  readonly task: string;
  readonly path: string;
  readonly record: DataRecord;
}

/** A length whose data is there. */
export interface PreparedLength {
  readonly maxTokens: number;
  /** Of its results. */
  readonly folder: string;
  readonly tasks: readonly PreparedTask[];
  /** Lines about what did not run. */
  readonly notes: readonly string[];
}

/** What a length came to. */
export interface LengthResult {
  readonly maxTokens: number;
  readonly scores: readonly ReportScore[];
  readonly statistics: Statistics;
  /** Tasks that were made with words that are not RULER's. */
  readonly builtinTasks: readonly string[];
  /** Lines about what did not run. */
  readonly notes: readonly string[];
}

/**
 * Finds or makes the data of a length, and records in `run.json` what the results are made with.
 *
 * @throws {UsageError} If there are results that were made with other options or other data.
 * @throws {FileError} If a file cannot be read or written.
 */
export async function prepareLength(maxTokens: number, run: RulerRun): Promise<PreparedLength> {
  const { screen, maker, progress } = run;
  const folder = `${run.folder}/${maxTokens}`;
  for (const name of ["data", "logs"]) await makeFolder(`${folder}/${name}`);
  const path = `${folder}/${RUN_FILE}`;
  const fresh = runRecord(maxTokens, run);
  const before = await readRecord(path, { run, fresh, folder });
  const data: Record<string, DataRecord> = { ...before?.data };
  const tasks: PreparedTask[] = [];
  const notes: string[] = [];
  for (const task of run.tasks) {
    screen.bar(`${task} at ${maxTokens}: preparing data`);
    const found = await findTaskData(maker, {
      ...run,
      task,
      maxTokens,
      folder,
      before: before?.data[task],
      onSample: (index) =>
        screen.bar(`${task} at ${maxTokens}: preparing sample ${index + 1} of ${run.sampleCount}`),
    });
    if ("reason" in found) {
      progress.expect({ moreCount: -run.sampleCount });
      notes.push(`${task} at ${maxTokens}: skipped, ${found.reason}`);
      screen.log(`${task} at ${maxTokens}: skipped, ${found.reason}`);
      continue;
    }
    const { record } = found;
    if (before !== undefined) {
      checkSameRun(before, { ...fresh, data: { [task]: record } }, { folder, remedy: REMEDY });
    }
    data[task] = record;
    await writeRunFile(path, { ...fresh, data });
    progress.expect({ moreCount: record.samples - run.sampleCount });
    tasks.push({ task, ...found });
    // A new run will need the model: it is loaded while the other tasks' data is made.
    if (before === undefined) run.session.prepare({ processCount: hostCount(maxTokens, run) });
  }
  return { maxTokens, folder, tasks, notes };
}

const REMEDY = "choose another --output_dir or --model_name, or remove that folder";

function runRecord(maxTokens: number, run: RulerRun): RunRecord {
  const processCount = hostCount(maxTokens, run);
  return {
    version: VERSION,
    model: { path: resolve(run.modelPath), sha256: run.modelSha256 },
    options: {
      ...planOptions(run.plan, { ...run, processCount }),
      prompt_config: run.template,
      num_samples_per_task: run.sampleCount,
    },
    unchecked: uncheckedOptions({ ...run, processCount }),
    data: {},
  };
}

/** The record of an earlier run, if it may be continued. */
async function readRecord(
  path: string,
  now: { run: RulerRun; fresh: RunRecord; folder: string },
): Promise<RunRecord | undefined> {
  const { run, fresh, folder } = now;
  const value = await readRunFile(path);
  if (value !== undefined) {
    const before = parseRunRecord(value, path);
    checkSameRun(before, fresh, { folder, remedy: REMEDY });
    return before;
  }
  for (const task of run.tasks) {
    if (!(await hasContent(`${folder}/${task}.jsonl`))) continue;
    throw new UsageError(
      `--output_dir: must not hold results without ${RUN_FILE}: current value has ` +
        `${folder}/${task}.jsonl (${REMEDY})`,
    );
  }
  return undefined;
}

/** The processes for a length: no more than it has blocks. */
function hostCount(maxTokens: number, run: RulerRun): number {
  return usedRanks(run.plan, { ranks: run.processCount, contextTokens: maxTokens });
}

/**
 * Runs the samples of a length that are not finished, and scores all.
 *
 * @returns The scores; undefined if no task has data.
 * @throws {WorkerError} If a worker process is lost; finished samples are kept.
 * @throws {FileError} If a file cannot be read or written, or a prompt is too long.
 */
export async function runLength(
  prepared: PreparedLength,
  run: RulerRun,
): Promise<LengthResult | undefined> {
  const { maxTokens, folder, tasks, notes } = prepared;
  if (tasks.length === 0) {
    if (notes.length === 0) return undefined;
    return { maxTokens, scores: [], statistics: EMPTY_STATISTICS, builtinTasks: [], notes };
  }
  let statistics = EMPTY_STATISTICS;
  for (const task of tasks) {
    statistics = addStatistics(statistics, await runTask(task, { prepared, run }));
  }
  let text = "";
  const { scores } = await evaluateFolder(folder, {
    print: (part) => {
      text += part;
    },
  });
  await replaceFile(`${folder}/logs/evaluate.txt`, [text]);
  const byTask = new Map(scores.map((score) => [score.task, score]));
  return {
    maxTokens,
    scores: tasks.flatMap(({ task }) => byTask.get(task) ?? []),
    statistics,
    builtinTasks: tasks.filter(({ record }) => record.words === "builtin").map(({ task }) => task),
    notes,
  };
}

async function runTask(
  prepared: PreparedTask,
  options: { prepared: PreparedLength; run: RulerRun },
): Promise<Statistics> {
  const { task, path: inputPath } = prepared;
  const { run, prepared: { folder, maxTokens } } = options;
  const label = `${task} at ${maxTokens}`;
  const outputPath = `${folder}/${task}.jsonl`;
  const logPath = `${folder}/logs/${task}/samples.jsonl`;
  await makeFolder(`${folder}/logs/${task}`);
  await recoverJsonLines(outputPath);
  await recoverJsonLines(logPath);
  using log = await JsonLinesWriter.open(logPath);
  run.progress.label = label;
  const finished = await FinishedSamples.read(outputPath);
  if (finished.count > prepared.record.samples) {
    throw new FileError(
      `Cannot continue ${outputPath} as it must have at most ${prepared.record.samples} records: ` +
        `found ${finished.count}`,
    );
  }
  await predictFile(() => run.session.open({ processCount: hostCount(maxTokens, run) }), {
    inputPath,
    outputPath,
    label,
    sampleLimit: -1,
    finished,
    ...run.maker.setup(task),
    topLogits: 0,
    progress: run.progress,
    onSample: async (_, generation) => await log.append(logEntry(generation)),
  });
  const statistics = await readStatistics(logPath);
  run.screen.log(
    `${label}: ${prepared.record.samples} samples` +
      (statistics.seconds > 0
        ? `, ${(statistics.seconds / statistics.sampleCount).toFixed(2)} s each`
        : ""),
  );
  return statistics;
}

function logEntry(generation: Generation): Record<string, unknown> {
  const { contextTokens, queryTokens, seconds, ids, result } = generation;
  const { taken, causal } = blockCounts(generation);
  return {
    seconds,
    contextTokens,
    queryTokens,
    generatedTokens: ids.length,
    blocksComputed: taken,
    blocksCausal: causal,
    ranks: result.ranks,
  };
}
