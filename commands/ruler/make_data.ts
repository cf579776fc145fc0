/**
 * Writes the data file of one of RULER's tasks.
 *
 * @module
 */
import { setImmediate } from "node:timers/promises";
import { dataFolder } from "../../lib/data_folder.ts";
import { builtinWords } from "../../lib/deps/words.ts";
import { replaceFile } from "../../ruler/files.ts";
import type { TaskSettings } from "../../ruler/model.ts";
import { chunkOf, formatSample, type PrepareOptions, prepareSamples } from "../../ruler/prepare.ts";
import {
  loadSources,
  missingSources,
  needsSources,
  questionFile,
  type SourceOptions,
} from "../../ruler/sources.ts";
import { type OwnTasks, taskNamed } from "./tasks_file.ts";

/** What to make. */
export interface MakeDataOptions extends Omit<PrepareOptions, "settings" | "sources"> {
  /** How often cwe's common and other words occur. */
  readonly cweFrequencies: readonly number[];
  /** Tasks beside RULER's. */
  readonly own?: OwnTasks | undefined;
  /** The folder of RULER's source data; `undefined` for the usual one. */
  readonly sourceDir: string | undefined;
  /** The file to write; written as a whole or not at all. */
  readonly path: string;
  /** Called with the number of each sample that is made, from 0 on. */
  readonly onSample?: (index: number) => void;
}

/** What became of it. */
export type MadeData =
  | {
    readonly isMade: true;
    readonly words: "ruler" | "builtin" | undefined;
    /** What the user should know of the samples. */
    readonly note: string | undefined;
  }
  /** Source data is not on this machine; `reason` says how to get it. */
  | { readonly isMade: false; readonly reason: string };

/** Samples whose sources suffice come closer to the length. */
const FULL_SHARE = 0.8;
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
  const settings = settingsOf(task, options);
  const where: SourceOptions = {
    // What is made without files needs no folder to be known.
    folder: needsSources(settings) ? dataFolder(options.sourceDir) : "",
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
  const lengths = { longest: 0 };
  await replaceFile(path, withTurns(samples, { ...options, lengths }));
  const { longest } = lengths;
  const isShort = longest < FULL_SHARE * options.maxTokens && needsSources(settings);
  const note = isShort
    ? `the longest sample of ${task} has ${longest} of ${options.maxTokens} tokens, as its source ` +
      "texts end there (so does the original)"
    : undefined;
  return { isMade: true, words: sources.words?.kind, note };
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

function settingsOf(
  task: string,
  options: { own?: OwnTasks | undefined; cweFrequencies: readonly number[] },
): TaskSettings {
  const { own, cweFrequencies } = options;
  const { settings } = taskNamed(task, { own });
  // The flag is about RULER's own task; others have their frequencies in their file.
  if (settings.generator !== "common_words_extraction" || own?.has(task) === true) return settings;
  const { commonFrequency, otherFrequency } = settings;
  const [common = commonFrequency, other = otherFrequency] = cweFrequencies;
  return { ...settings, commonFrequency: common, otherFrequency: other };
}

/** The lines, with turns for progress and signals in between. */
async function* withTurns(
  samples: ReturnType<typeof prepareSamples>,
  options: Pick<MakeDataOptions, "onSample"> & { lengths: { longest: number } },
): AsyncGenerator<string> {
  let turnMs = performance.now();
  for await (const sample of samples) {
    options.onSample?.(sample.index);
    options.lengths.longest = Math.max(options.lengths.longest, sample.length);
    yield formatSample(sample);
    if (performance.now() - turnMs < TURN_MS) continue;
    await setImmediate();
    turnMs = performance.now();
  }
}
