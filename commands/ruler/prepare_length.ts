/**
 * What has to be there before a length of a RULER run can run: its data, and `run.json`.
 *
 * @module
 */
import { resolve } from "node:path";
import { type CheckedPlan, usedRanks } from "../../lib/attention/plan.ts";
import { UsageError } from "../../lib/errors.ts";
import { makeFolder } from "../shared/folder.ts";
import type { ModelSession } from "../shared/model_session.ts";
import type { RunProgress } from "../shared/progress.ts";
import type { InstructionSet, RowsSetName } from "../../lib/ffi/status.ts";
import { listFolder, removeFile } from "../../lib/files.ts";
import {
  endRecord,
  planOptions,
  recordedRowsSet,
  uncheckedOptions,
} from "../shared/run_options.ts";
import {
  checkSameRun,
  type DataRecord,
  parseRunRecord,
  readRunFile,
  RUN_FILE,
  type RunRecord,
  writeRunFile,
} from "../shared/run_record.ts";
import { hasContent, type SampleSurvey } from "../shared/samples.ts";
import type { Screen } from "../shared/screen.ts";
import { VERSION } from "../shared/version.ts";
import { type DataMaker, findTaskData } from "./data.ts";
import type { RulerOptions } from "./options.ts";
import type { ModelTemplate } from "../../ruler/templates.ts";
import type { OwnTasks } from "./tasks_file.ts";

/** What a run's results are made with, as digests. */
export interface RunDigests {
  readonly model: string;
  readonly tokenizer: string;
  readonly kernels: string;
}

/** A run: its checked options and what it works with. */
export interface RulerRun extends Omit<RulerOptions, "plan"> {
  readonly plan: CheckedPlan;
  /** What multiplies the rows of decode steps on a CPU. */
  readonly rowsSet: RowsSetName;
  /** What computes everything else, if STARX_ISA takes another set than the machine would. */
  readonly forcedSet: InstructionSet | undefined;
  readonly processCount: number;
  /** The experiment's folder. */
  readonly folder: string;
  readonly digests: RunDigests;
  readonly maker: DataMaker;
  /** Tasks of one's own, beside the suite's. */
  readonly own: OwnTasks;
  readonly session: ModelSession;
  readonly screen: Screen;
  readonly progress: RunProgress;
  /** Ids that end an answer besides the stop words. */
  readonly endIds: readonly number[];
  /** What stands around the prompts; `template` is its name in records, this one in commands. */
  readonly prompt: ModelTemplate;
  readonly templateName: string;
  /** Fails if the model's files are not what they were. */
  readonly checkModel: () => Promise<void>;
}

/** A task that can run. */
export interface PreparedTask {
  readonly task: string;
  readonly path: string;
  readonly record: DataRecord;
  readonly survey: SampleSurvey;
  /** Of the data's samples, the first so many are run. */
  readonly sampleCount: number;
}

/** A length whose data is there. */
export interface PreparedLength {
  readonly maxTokens: number;
  /** Of its results. */
  readonly folder: string;
  readonly tasks: readonly PreparedTask[];
  /** What `run.json` says now. */
  readonly record: RunRecord;
  /** Lines about what did not run. */
  readonly notes: readonly string[];
}

const REMEDY = "choose another --output_dir or --model_name, or give --overwrite";

/**
 * Finds or makes the data of a length, and records in `run.json` what the results are made with.
 *
 * @throws {UsageError} If there are results that were made with other options or other data.
 * @throws {FileError} If a file cannot be read or written.
 */
export async function prepareLength(maxTokens: number, run: RulerRun): Promise<PreparedLength> {
  const { screen, maker, progress } = run;
  const folder = `${run.folder}/${maxTokens}`;
  if (run.overwrite) await removeResults(folder);
  for (const name of ["data", "logs"]) await makeFolder(`${folder}/${name}`);
  const path = `${folder}/${RUN_FILE}`;
  const fresh = runRecord(maxTokens, run);
  const before = await readRecord(path, { run, fresh, folder });
  const data: Record<string, DataRecord> = { ...before?.data };
  const tasks: PreparedTask[] = [];
  const notes: string[] = [];
  const record = () => ({ ...fresh, sessions: before?.sessions ?? [], data: { ...data } });
  for (const task of run.tasks) {
    screen.bar(`${task} at ${maxTokens}: preparing data`);
    const isFinished = await hasContent(`${folder}/${task}.jsonl`);
    const found = await findTaskData(maker, {
      ...{ ...run, task, maxTokens, folder },
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
    if (found.note !== undefined) screen.log(`warning: ${found.note}`);
    if (before !== undefined && isFinished) {
      // Longer data begins with the same samples; how it is made and scored has to be the same.
      const sha256 = found.isLonger ? before.data[task]?.sha256 : undefined;
      const now = { ...found.record, ...(sha256 === undefined ? {} : { sha256 }) };
      checkSameRun(before, { ...fresh, data: { [task]: now } }, { folder, remedy: REMEDY });
    }
    data[task] = found.record;
    await writeRunFile(path, record());
    const sampleCount = Math.min(found.record.samples, run.sampleCount);
    progress.expect({ moreCount: sampleCount - run.sampleCount });
    tasks.push({ task, ...found, sampleCount });
    // A new run will need the model: it is loaded while the other tasks' data is made.
    if (before === undefined) run.session.prepare({ processCount: rankCount(maxTokens, run) });
  }
  return { maxTokens, folder, tasks, record: record(), notes };
}

/** Removes what an earlier run left in a length's folder; anything else is none of ours. */
async function removeResults(folder: string): Promise<void> {
  if (await readRunFile(`${folder}/${RUN_FILE}`) === undefined) return;
  await removeFile(folder, { recursive: true });
}

/** What `run.json` would say of results of a run that have no data yet. */
export function runRecord(maxTokens: number, run: RulerRun): RunRecord {
  const processCount = rankCount(maxTokens, run);
  const { model: sha256, tokenizer, kernels } = run.digests;
  return {
    version: VERSION,
    model: { path: resolve(run.modelPath), sha256, tokenizer },
    kernels,
    options: {
      ...planOptions(run.plan, { ...run, processCount }),
      prompt_config: run.template,
      // Earlier results were made without these, and say nothing of them.
      ...(run.generators === "2026" ? { generators: run.generators } : {}),
      ...(run.stopAtEos === true ? { stop_at_eos: true } : {}),
      ...endRecord(run.endIds),
    },
    unchecked: {
      num_samples_per_task: run.sampleCount,
      ...uncheckedOptions({ ...run, processCount }),
    },
    sessions: [],
    data: {},
  };
}

/**
 * The record of an earlier run, if it may be continued. One that finished no sample binds nobody:
 * its data is taken if it would be made with the same options, else made again.
 */
async function readRecord(
  path: string,
  now: { run: RulerRun; fresh: RunRecord; folder: string },
): Promise<RunRecord | undefined> {
  const { run, fresh, folder } = now;
  const value = await readRunFile(path);
  const finished = await finishedTask(folder);
  if (value !== undefined) {
    const before = parseRunRecord(value, path);
    try {
      checkSameRun(before, fresh, { folder, remedy: REMEDY });
      return before;
    } catch (error) {
      if (finished !== undefined || !(error instanceof UsageError)) throw error;
      return undefined;
    }
  }
  if (finished !== undefined && run.tasks.includes(finished)) {
    throw new UsageError(
      `--output_dir: must not hold results without ${RUN_FILE}: current value has ` +
        `${folder}/${finished}.jsonl (${REMEDY}; --adopt takes those of NVIDIA/Star-Attention)`,
    );
  }
  return undefined;
}

/**
 * What multiplied the rows of the samples that are finished; undefined if there are none, so that the
 * fastest may.
 *
 * @param folder Of the experiment.
 */
export async function finishedRowsSet(
  folder: string,
  lengths: readonly number[],
): Promise<RowsSetName | undefined> {
  for (const length of lengths) {
    const own = `${folder}/${length}`;
    const record = await readRunFile(`${own}/${RUN_FILE}`);
    if (record === undefined || await finishedTask(own) === undefined) continue;
    return recordedRowsSet(record);
  }
  return undefined;
}

/** A task that has a finished sample. */
async function finishedTask(folder: string): Promise<string | undefined> {
  for (const { name } of await listFolder(folder)) {
    const isRecords = name.endsWith(".jsonl") && name !== "events.jsonl" &&
      !name.startsWith("samples_");
    if (isRecords && await hasContent(`${folder}/${name}`)) return name.slice(0, -".jsonl".length);
  }
  return undefined;
}

/** The processes for a length: no more than it has blocks. */
export function rankCount(maxTokens: number, run: Pick<RulerRun, "plan" | "processCount">): number {
  return usedRanks(run.plan, { ranks: run.processCount, contextTokens: maxTokens });
}
