/**
 * Writes the data file of one of RULER's tasks.
 *
 * @module
 */
import { setImmediate } from "node:timers/promises";
import { dataFolder } from "../../lib/data_folder.ts";
import { builtinWords } from "../../lib/deps/words.ts";
import { replaceFile } from "../../lib/files.ts";
import type { Generators, TaskSettings } from "../../ruler/model.ts";
import { formatSample2026, prepareSamples2026 } from "../../ruler/generators_2026/prepare.ts";
import { moduleSamples, type ModuleTask } from "../../ruler/own_task.ts";
import type { RulerTask } from "../../ruler/tasks.ts";
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
  /** Whose generators make the data. @default {"pinned"} */
  readonly generators?: Generators | undefined;
  /** How often cwe's common and other words occur, if not as in its settings. */
  readonly cweFrequencies?: readonly number[] | undefined;
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

/** Samples that end with their sources have fewer tokens than this share of the length. */
const FULL_SHARE = 0.98;
/** How often the event loop gets a turn while samples are made. */
const TURN_MS = 20;

/**
 * Makes the samples of a task and writes them.
 *
 * @throws {UsageError} If the task is not known, or no sample fits the length.
 * @throws {FileError} If a source cannot be read or the file cannot be written.
 */
export async function makeData(options: MakeDataOptions): Promise<MadeData> {
  const { task, path, own } = options;
  const known = taskNamed(task, options);
  if ("samples" in known) {
    await replaceFile(path, withTurns(moduleLines(known, options), options));
    return { isMade: true, words: undefined, note: undefined };
  }
  const settings = settingsOf(known, { ...options, isOwn: own?.has(task) === true });
  const where: SourceOptions = {
    // What is made without files needs no folder to be known.
    folder: needsSources(settings) ? dataFolder(options.sourceDir) : "",
    builtinWords,
    generators: options.generators,
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
  let hasEnded = false;
  const lines = sampleLines({
    ...{ ...options, settings, sources },
    onSourceEnd: () => {
      hasEnded = true;
    },
  });
  const lengths = { longest: 0 };
  await replaceFile(path, withTurns(lines, { ...options, lengths }));
  const { longest } = lengths;
  const note = hasEnded && longest < FULL_SHARE * options.maxTokens
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
  { settings }: RulerTask,
  options: Pick<MakeDataOptions, "cweFrequencies"> & { isOwn: boolean },
): TaskSettings {
  const { isOwn, cweFrequencies = [] } = options;
  // The flag is about RULER's own task; others have their frequencies in their file.
  if (settings.generator !== "common_words_extraction" || isOwn) return settings;
  const { commonFrequency, otherFrequency } = settings;
  const [common = commonFrequency, other = otherFrequency] = cweFrequencies;
  return { ...settings, commonFrequency: common, otherFrequency: other };
}

/** A sample's line, and how many tokens it has. */
interface SampleLine {
  readonly text: string;
  readonly length: number;
}

async function* sampleLines(
  options: PrepareOptions & Pick<MakeDataOptions, "generators">,
): AsyncGenerator<SampleLine> {
  if (options.generators === "2026") {
    for await (const sample of prepareSamples2026(options)) {
      yield { text: formatSample2026(sample), length: sample.length };
    }
    return;
  }
  for await (const sample of prepareSamples(options)) {
    yield { text: formatSample(sample), length: sample.length };
  }
}

async function* moduleLines(
  task: ModuleTask,
  options: MakeDataOptions,
): AsyncGenerator<SampleLine> {
  for await (const sample of moduleSamples(task, options)) {
    yield { text: formatSample(sample), length: sample.length };
  }
}

/** The lines, with turns for progress and signals in between. */
async function* withTurns(
  lines: AsyncIterable<SampleLine>,
  options: Pick<MakeDataOptions, "onSample"> & { lengths?: { longest: number } },
): AsyncGenerator<string> {
  let turnMs = performance.now();
  let count = 0;
  for await (const { text, length } of lines) {
    options.onSample?.(count++);
    if (options.lengths !== undefined) {
      options.lengths.longest = Math.max(options.lengths.longest, length);
    }
    yield text;
    if (performance.now() - turnMs < TURN_MS) continue;
    await setImmediate();
    turnMs = performance.now();
  }
}
