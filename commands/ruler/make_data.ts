/**
 * Writes the data file of one of RULER's tasks.
 *
 * @module
 */
import { setImmediate } from "node:timers/promises";
import { dataFolder } from "../../lib/data_folder.ts";
import { builtinWords } from "../../lib/deps/words.ts";
import { UsageError } from "../../lib/errors.ts";
import { replaceFile } from "../../ruler/files.ts";
import type { TaskSettings } from "../../ruler/model.ts";
import { chunkOf, formatSample, type PrepareOptions, prepareSamples } from "../../ruler/prepare.ts";
import {
  loadSources,
  missingSources,
  questionFile,
  type SourceOptions,
} from "../../ruler/sources.ts";
import { RULER_TASKS, type RulerTask } from "../../ruler/tasks.ts";

/** What to make. */
export interface MakeDataOptions extends Omit<PrepareOptions, "settings" | "sources"> {
  /** How often cwe's common and other words occur. */
  readonly cweFrequencies: readonly number[];
  /** The folder of RULER's source data; `undefined` for the usual one. */
  readonly sourceDir: string | undefined;
  /** The file to write; written as a whole or not at all. */
  readonly path: string;
  /** Called with the number of each sample that is made, from 0 on. */
  readonly onSample?: (index: number) => void;
}

/** What became of it. */
export type MadeData =
  | { readonly isMade: true; readonly words: "ruler" | "builtin" | undefined }
  /** Source data is not on this machine; `reason` says how to get it. */
  | { readonly isMade: false; readonly reason: string };

/** How often the event loop gets a turn while samples are made. */
const TURN_MS = 20;

/**
 * Makes the samples of a task and writes them.
 *
 * @throws {UsageError} If the task is not known, or no sample fits the length.
 * @throws {FileError} If a source cannot be read or the file cannot be written.
 */
export async function makeData(options: MakeDataOptions): Promise<MadeData> {
  const { task, path } = options;
  const settings = settingsOf(task, options.cweFrequencies);
  const where: SourceOptions = {
    folder: dataFolder(options.sourceDir),
    builtinWords,
  };
  const missing = await missingSources(settings, where);
  if (missing.length > 0) {
    const files = missing.length === 1
      ? missing[0]
      : `${missing[0]} and ${missing.length - 1} more`;
    return {
      isMade: false,
      reason: `${files} not found in ${where.folder}: 'deno task data' fetches it`,
    };
  }
  const sources = await loadSources(settings, where);
  const shortage = questionShortage({ ...options, settings, sources });
  if (shortage !== undefined) {
    return {
      isMade: false,
      reason: `${shortage} in ${where.folder}: 'deno task data' fetches the official file`,
    };
  }
  const samples = prepareSamples({ ...options, settings, sources });
  await replaceFile(path, withTurns(samples, options));
  return { isMade: true, words: sources.words?.kind };
}

/**
 * What a shortened file of questions lacks for the samples that are asked for; the original would
 * draw for ever.
 */
function questionShortage(
  options: Pick<
    PrepareOptions,
    "sampleCount" | "chunkIndex" | "chunkCount" | "settings" | "sources"
  >,
): string | undefined {
  const { settings, sources } = options;
  if (settings.generator !== "qa" || sources.questions === undefined) return undefined;
  const { sampleCount, earlierSamples } = chunkOf(options);
  const needed = earlierSamples + sampleCount;
  const { length: found } = sources.questions.questions;
  const { name, officialQuestions } = questionFile(settings);
  // With the official file there are too many samples, which is another fault.
  if (needed <= found || found >= officialQuestions) return undefined;
  return `${name} has ${found} questions for ${needed} samples`;
}

/** A task by its name. @throws {UsageError} If there is none; the message names them all. */
export function taskNamed(task: string): RulerTask {
  const found = Object.hasOwn(RULER_TASKS, task) ? RULER_TASKS[task] : undefined;
  if (found !== undefined) return found;
  const names = Object.keys(RULER_TASKS).join(", ");
  throw new UsageError(`--task: must be one of ${names}: current value is '${task}'`);
}

function settingsOf(task: string, cweFrequencies: readonly number[]): TaskSettings {
  const { settings } = taskNamed(task);
  if (settings.generator !== "common_words_extraction") return settings;
  const { commonFrequency, otherFrequency } = settings;
  const [common = commonFrequency, other = otherFrequency] = cweFrequencies;
  return { ...settings, commonFrequency: common, otherFrequency: other };
}

/** The lines, with turns for progress and signals in between. */
async function* withTurns(
  samples: ReturnType<typeof prepareSamples>,
  options: Pick<MakeDataOptions, "onSample">,
): AsyncGenerator<string> {
  let turnMs = performance.now();
  for await (const sample of samples) {
    options.onSample?.(sample.index);
    yield formatSample(sample);
    if (performance.now() - turnMs < TURN_MS) continue;
    await setImmediate();
    turnMs = performance.now();
  }
}
