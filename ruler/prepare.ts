/**
 * Makes the samples of a task as RULER's `prepare.py` does (NVIDIA/Star-Attention,
 * `ruler/data/prepare.py`): templates, chunks and seeds, and the lines of the data file.
 *
 * @module
 */
import { UsageError } from "../lib/errors.ts";
import { generateCommonWords } from "./common_words.ts";
import { generateFrequentWords } from "./frequent_words.ts";
import type {
  CountTokens,
  GeneratorOptions,
  RulerSample,
  TaskSettings,
  TaskSources,
} from "./model.ts";
import { generateNiah } from "./niah.ts";
import { dumpJsonText } from "./python/json_text.ts";
import { removeNewlines } from "./python/strings.ts";
import { generateQa } from "./qa.ts";
import { type ModelTemplate, TASK_TEMPLATES, type TaskTemplate } from "./templates.ts";
import { generateVariableTracking } from "./variable_tracking.ts";

/** The seed of the first chunk; the next has one more, and so on. */
const SEED = 42;

/** What to make. */
export interface PrepareOptions {
  /** The task's name, for messages. */
  readonly task: string;
  /** What its generator is set to. */
  readonly settings: TaskSettings;
  /** The model's prompt. */
  readonly template: Pick<ModelTemplate, "before" | "after">;
  /** Tokens of a sample and its answer. */
  readonly maxTokens: number;
  /** Samples of all chunks together. */
  readonly sampleCount: number;
  /** Which of `chunkCount` parts to make, from 0 on. */
  readonly chunkIndex: number;
  /** Parts that are made one by one, each with a seed of its own. */
  readonly chunkCount: number;
  /** Whether line feeds and tabs become spaces, after the length was counted. */
  readonly removeNewlineTab: boolean;
  /** The model's way to count. */
  readonly countTokens: CountTokens;
  /** What the task's data is made of. */
  readonly sources: TaskSources;
  /** The seed of the first chunk, with the generators of 2026; the others have a fixed one. */
  readonly randomSeed?: number | undefined;
  /** Called where a haystack ends before the length is reached. */
  readonly onSourceEnd?: (() => void) | undefined;
}

/**
 * The samples of a task, or of one chunk of it, one by one. They depend on nothing but the options:
 * sample i is the same whatever the number of samples.
 *
 * @throws {UsageError} If the length is too short, or a number is out of its range.
 */
export async function* prepareSamples(options: PrepareOptions): AsyncGenerator<RulerSample> {
  checkNumbers(options);
  const samples = generate(
    generatorOptions(options, { texts: TASK_TEMPLATES[options.settings.generator], seed: SEED }),
  );
  for await (const sample of samples) {
    if (!options.removeNewlineTab) yield sample;
    else {
      const { context, query } = sample;
      yield { ...sample, context: removeNewlines(context), query: removeNewlines(query) };
    }
  }
}

/** What a generator is given. @param style The task's texts, and the seed of the first chunk. */
export function generatorOptions(
  options: PrepareOptions,
  style: { texts: TaskTemplate; seed: number },
): GeneratorOptions {
  const { task, settings, template, maxTokens, chunkIndex } = options;
  const { texts, seed } = style;
  const { before, after } = template;
  return {
    task,
    settings,
    contextTemplate: before + texts.context,
    queryTemplate: texts.query + after + texts.answerPrefix,
    maxTokens,
    tokensToGenerate: texts.tokensToGenerate,
    ...chunkOf(options),
    seed: seed + chunkIndex,
    removeNewlineTab: options.removeNewlineTab,
    countTokens: options.countTokens,
    sources: options.sources,
    onSourceEnd: options.onSourceEnd,
  };
}

/** How many samples a chunk has, and how many those before it have together. */
export function chunkOf(
  options: Pick<PrepareOptions, "sampleCount" | "chunkIndex" | "chunkCount">,
): { sampleCount: number; earlierSamples: number } {
  const { sampleCount, chunkIndex, chunkCount } = options;
  const share = Math.floor(sampleCount / chunkCount);
  const rest = sampleCount % chunkCount;
  return {
    sampleCount: share + (chunkIndex < rest ? 1 : 0),
    earlierSamples: share * chunkIndex + Math.min(chunkIndex, rest),
  };
}

/** A sample's line in `validation.jsonl`, as Python's `json.dumps` writes it, with its line feed. */
export function formatSample(sample: RulerSample): string {
  const { index, context, query, answers, length } = sample;
  return `{"index": ${index}, "input_context": ${dumpJsonText(context)}, ` +
    `"input_query": ${dumpJsonText(query)}, "outputs": ${dumpJsonText([...answers])}, ` +
    `"length": ${length}}\n`;
}

function generate(options: GeneratorOptions): AsyncGenerator<RulerSample> {
  const { settings } = options;
  switch (settings.generator) {
    case "niah":
      return generateNiah({ ...options, settings });
    case "variable_tracking":
      return generateVariableTracking({ ...options, settings });
    case "common_words_extraction":
      return generateCommonWords({ ...options, settings });
    case "freq_words_extraction":
      return generateFrequentWords({ ...options, settings });
    case "qa":
      return generateQa({ ...options, settings });
  }
}

/** @throws {UsageError} If a number is out of its range. */
export function checkNumbers(options: PrepareOptions): void {
  const { maxTokens, sampleCount, chunkIndex, chunkCount } = options;
  const check = (holds: boolean, rule: string, value: number): void => {
    if (holds) return;
    throw new UsageError(
      `Cannot make samples of ${options.task} as ${rule}: current value is ${value}`,
    );
  };
  const isCount = (value: number): boolean => Number.isSafeInteger(value) && value >= 1;
  check(isCount(maxTokens), "'--max_seq_length' must be a whole number above 0", maxTokens);
  check(isCount(sampleCount), "'--num_samples' must be a whole number above 0", sampleCount);
  check(isCount(chunkCount), "'--chunk_amount' must be a whole number above 0", chunkCount);
  const isIndex = Number.isSafeInteger(chunkIndex) && chunkIndex >= 0 && chunkIndex < chunkCount;
  check(isIndex, `'--chunk_idx' must be 0 to ${chunkCount - 1}`, chunkIndex);
}
