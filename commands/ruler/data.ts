/**
 * The data of RULER's tasks for one length: taken from where it lies, or made.
 *
 * @module
 */
import { FileError, invariant } from "../../lib/errors.ts";
import { removeFile, renameFile } from "../../lib/files.ts";
import { makeFolder } from "../shared/folder.ts";
import type { CountTokens, Generators } from "../../ruler/model.ts";
import type { ModelTemplate } from "../../ruler/templates.ts";
import { type OwnTask, type OwnTasks, rulerTask } from "./tasks_file.ts";
import type { DataRecord } from "../shared/run_record.ts";
import { hasContent, type SampleSurvey, surveySamples } from "../shared/samples.ts";

/** What is asked of a {@linkcode DataMaker}. */
export interface DataRequest {
  readonly task: string;
  readonly maxTokens: number;
  readonly sampleCount: number;
  /** How often cwe's common and other words occur, if not as in its settings. */
  readonly cweFrequencies?: readonly number[] | undefined;
  /** The file to write; written as a whole or not at all. */
  readonly path: string;
  /** Called with the number of each sample, from 0 on. */
  readonly onSample?: (index: number) => void;
}

/** What became of a request. */
export type DataOutcome =
  | {
    readonly isMade: true;
    readonly words: "ruler" | "builtin" | undefined;
    /** What the user should know of the samples. */
    readonly note?: string | undefined;
  }
  /** Source data is not on this machine; `reason` says how to get it. */
  | { readonly isMade: false; readonly reason: string };

/** What is fixed about a task. */
export interface TaskSetup {
  readonly tokensToGenerate: number;
  readonly stopWords: readonly string[];
}

/** Makes the data of tasks. */
export interface DataMaker {
  /** How a task's answers are generated. */
  setup(task: string): TaskSetup;
  /**
   * Writes a task's samples.
   *
   * @throws {UsageError} If the length or the number of samples cannot be used.
   */
  make(request: DataRequest): Promise<DataOutcome>;
  /** Where a task lies in a folder of data made before, if not at `<length>/<task>/validation.jsonl`. */
  pregenName?(task: string, maxTokens: number): string;
}

/** Opens a {@linkcode DataMaker}; tests pass another one. */
export type OpenDataMaker = (options: {
  countTokens: CountTokens;
  sourceDir: string | undefined;
  template: ModelTemplate;
  /** Tasks beside RULER's. */
  own?: OwnTasks | undefined;
  /** Whose generators make RULER's data. @default {"pinned"} */
  generators?: Generators | undefined;
}) => Promise<DataMaker>;

/** A task's data, or why there is none. */
export type TaskData =
  | {
    readonly path: string;
    readonly record: DataRecord;
    readonly survey: SampleSurvey;
    /** What the user should know of the samples, if they were made now. */
    readonly note?: string | undefined;
    /** Whether the first samples are those of an earlier run, which had fewer. */
    readonly isLonger: boolean;
  }
  | { readonly reason: string };

/** Where to look for data. */
export interface TaskDataOptions extends Omit<DataRequest, "path"> {
  /** The folder of the length's results. */
  readonly folder: string;
  /** A folder of data made before. */
  readonly pregenDir: string | undefined;
  /** What `run.json` says of it. */
  readonly before: DataRecord | undefined;
  /** Tasks of one's own. */
  readonly own?: OwnTasks | undefined;
  /** Whose generators made the data. @default {"pinned"} */
  readonly generators?: Generators | undefined;
}

/**
 * Finds or makes the data of a task.
 *
 * @throws {FileError} If a file cannot be read or written.
 * @throws {UsageError} As {@linkcode DataMaker.make}.
 */
export async function findTaskData(maker: DataMaker, options: TaskDataOptions): Promise<TaskData> {
  const { task, folder, pregenDir, maxTokens, before } = options;
  const own = ownFacts(options.own?.get(task));
  const name = maker.pregenName?.(task, maxTokens) ?? `${maxTokens}/${task}/validation.jsonl`;
  const given = pregenDir && `${pregenDir}/${name}`;
  if (given !== undefined && await hasContent(given)) {
    return await describe(given, { ...options, facts: own });
  }
  const path = `${folder}/data/${task}/validation.jsonl`;
  const frequencies = { ...cweFacts(options), ...own };
  // Only what a run recorded is known to be whole and of these options.
  const isThere = before !== undefined && await hasContent(path);
  if (isThere && before.samples >= options.sampleCount) {
    return await describe(path, { ...options, facts: { ...wordsOf(before), ...frequencies } });
  }
  await makeFolder(`${folder}/data/${task}`);
  // More samples begin with the same ones; until that is seen, the data of the finished ones stays.
  const target = isThere ? `${folder}/data/${task}/longer.jsonl` : path;
  const outcome = await maker.make({ ...options, path: target });
  if (!outcome.isMade) return { reason: outcome.reason };
  const facts = { ...wordsOf(outcome), ...frequencies };
  const data = { ...await describe(target, { ...options, facts }), note: outcome.note };
  if (!isThere) return data;
  if (!data.isLonger) {
    // The caller refuses: other options made these samples.
    await removeFile(target);
    // There are no more than it had: a data set that is not made has an end.
    return data.record.sha256 === before.sha256 ? { ...data, path } : data;
  }
  await renameFile(target, path);
  return { ...data, path };
}

/** What `run.json` keeps of cwe: the frequencies of its words. */
function cweFacts(options: TaskDataOptions): Partial<DataRecord> {
  const { task, generators, cweFrequencies } = options;
  if (task !== "cwe") return {};
  const { settings } = rulerTask(task, generators);
  invariant(settings.generator === "common_words_extraction", "cwe is one of its tasks");
  const { commonFrequency, otherFrequency } = settings;
  return { cwe_freq: cweFrequencies ?? [commonFrequency, otherFrequency] };
}

/** What `run.json` keeps of a task that is in no suite: its results are read by that. */
function ownFacts(task: OwnTask | undefined): Partial<DataRecord> {
  if (task === undefined) return {};
  if ("samples" in task) {
    const settings = `module ${task.module.sha256.slice(0, 16)}`;
    return typeof task.metric === "function" ? { settings } : { metric: task.metric, settings };
  }
  return { metric: task.metric, settings: JSON.stringify(task.settings) };
}

function wordsOf({ words }: { words?: "ruler" | "builtin" | undefined }): Partial<DataRecord> {
  return words === undefined ? {} : { words };
}

async function describe(
  path: string,
  options: Pick<TaskDataOptions, "before" | "generators"> & { facts?: Partial<DataRecord> },
): Promise<Exclude<TaskData, { reason: string }>> {
  const { before, facts = {} } = options;
  const survey = await surveySamples(path, {
    needsAnswers: true,
    cutsQuestion: options.generators === "2026",
    prefixCount: before?.samples,
  });
  const { sha256, sampleCount: samples, prefixSha256 } = survey;
  if (samples === 0) throw new FileError(`Cannot use ${path} as it must hold samples: found none`);
  const isLonger = before !== undefined && samples > before.samples &&
    prefixSha256 === before.sha256;
  return { path, record: { sha256, samples, ...facts }, survey, isLonger };
}
