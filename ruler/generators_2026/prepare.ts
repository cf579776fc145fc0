/**
 * Makes the samples of a task as NVIDIA/RULER's `scripts/data/prepare.py` does at c3f5e3b, and the
 * lines of its data file.
 *
 * @module
 */
import type { GeneratorOptions } from "../model.ts";
import { checkNumbers, generatorOptions, type PrepareOptions } from "../prepare.ts";
import { dumpJsonText } from "../python/json_text.ts";
import { removeNewlines } from "../python/strings.ts";
import { codePointCount } from "../python/text.ts";
import { drawCommonWords, drawFrequentWords, drawNiah, drawQa } from "./haystacks.ts";
import type { FittingDraft } from "./search.ts";
import { TEMPLATES_2026 } from "./templates.ts";
import { drawVariableTracking } from "./variable_tracking.ts";

/** The seed of the first chunk unless another one is given. */
const SEED = 42;

/** A sample as the data file has it. */
export interface Sample2026 {
  /** From 0 on in every chunk; of niah where its first answer stands: kept from the original. */
  readonly index: number;
  /** The prompt up to where its answer begins. */
  readonly input: string;
  /** What the answer should hold. */
  readonly answers: readonly string[];
  /** Tokens of the prompt, and those to be generated. */
  readonly length: number;
  /** The beginning of the answer, behind `input`. */
  readonly answerPrefix: string;
  /** Tokens in front of the first answer; of niah alone. */
  readonly answerTokens?: number;
}

/**
 * The samples of a task, or of one chunk of it, one by one.
 *
 * @throws {UsageError} If the length is too short, or a number is out of its range.
 */
export async function* prepareSamples2026(options: PrepareOptions): AsyncGenerator<Sample2026> {
  checkNumbers(options);
  const { settings, randomSeed: seed = SEED, removeNewlineTab, countTokens } = options;
  const texts = TEMPLATES_2026[settings.generator];
  let number = 0;
  for await (const draft of draw(generatorOptions(options, { texts, seed }))) {
    const { answers, length } = draft;
    const text = removeNewlineTab ? removeNewlines(draft.text) : draft.text;
    const at = text.lastIndexOf(texts.answerPrefix.slice(0, 10));
    const input = text.slice(0, at);
    const sample = { index: number++, input, answers, length, answerPrefix: text.slice(at) };
    if (settings.generator !== "niah") yield sample;
    else {
      const place = input.indexOf(answers[0] ?? "");
      const before = input.slice(0, place);
      const answerTokens = await countTokens(before);
      yield { ...sample, index: place < 0 ? place : codePointCount(before), answerTokens };
    }
  }
}

/** A sample's line in `validation.jsonl`, as Python's `json.dump` writes it, with its line feed. */
export function formatSample2026(sample: Sample2026): string {
  const { index, input, answers, length, answerPrefix, answerTokens } = sample;
  const place = answerTokens === undefined ? "" : `, "token_position_answer": ${answerTokens}`;
  return `{"index": ${index}, "input": ${dumpJsonText(input)}, ` +
    `"outputs": ${dumpJsonText([...answers])}, "length": ${length}, ` +
    `"length_w_model_temp": ${length}, "answer_prefix": ${dumpJsonText(answerPrefix)}${place}}\n`;
}

function draw(options: GeneratorOptions): AsyncGenerator<FittingDraft> {
  const { settings } = options;
  switch (settings.generator) {
    case "niah":
      return drawNiah({ ...options, settings });
    case "variable_tracking":
      return drawVariableTracking({ ...options, settings });
    case "common_words_extraction":
      return drawCommonWords({ ...options, settings });
    case "freq_words_extraction":
      return drawFrequentWords({ ...options, settings });
    case "qa":
      return drawQa({ ...options, settings });
  }
}
