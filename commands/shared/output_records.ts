/**
 * The records of finished samples, and which samples an output file says are finished.
 *
 * Fields and order are those of `run_star_attn_inference.py` of NVIDIA/Star-Attention.
 *
 * @module
 */
import { FileError } from "../../lib/errors.ts";
import type { Generation } from "../../lib/engine/load_model.ts";
import { floatRepr } from "../../ruler/python/float.ts";
import { JsonNumber, type JsonValue } from "../../ruler/python/json_text.ts";
import { strip } from "../../ruler/python/text.ts";
import {
  hasContent,
  type InputSample,
  parseSample,
  readTextLines,
  sampleKey,
  type SampleSurvey,
} from "./samples.ts";

const UNKNOWN = new JsonNumber("-1", { isWhole: true });

/**
 * The record of a finished sample.
 *
 * @param sample What was asked.
 * @param generation What was generated; its text is stripped, as the original strips it.
 * @param options With `withLogits`, `top_logits` and `generated_ids` are added.
 */
export function outputRecord(
  sample: InputSample,
  generation: Generation,
  options: { withLogits: boolean },
): Map<string, JsonValue> {
  const { record } = sample;
  const output = new Map<string, JsonValue>([
    ["index", sample.index],
    ["pred", strip(generation.text)],
    ["input_context", sample.context],
    ["input_query", sample.query],
    ["outputs", answersOf(record)],
    ["others", record.get("others") ?? new Map()],
    ["truncation", record.get("truncation") ?? UNKNOWN],
    ["length", record.get("length") ?? UNKNOWN],
  ]);
  if (options.withLogits) {
    output.set(
      "top_logits",
      generation.topLogits.map(([id, logit]) => [wholeNumber(id), decimalNumber(logit)]),
    );
    output.set("generated_ids", generation.ids.map(wholeNumber));
  }
  return output;
}

/** The answers; one of null, as in the original, where the data has none. */
function answersOf(record: ReadonlyMap<string, JsonValue>): JsonValue {
  return record.get("outputs") ?? [record.get("output") ?? null];
}

function wholeNumber(value: number): JsonNumber {
  return new JsonNumber(String(value), { isWhole: true });
}

/** JSON has no number for what is not finite. */
function decimalNumber(value: number): JsonValue {
  return Number.isFinite(value) ? new JsonNumber(floatRepr(value), { isWhole: false }) : null;
}

/** Samples that an earlier run finished. */
export class FinishedSamples {
  readonly #isFinished: readonly boolean[];

  private constructor(isFinished: readonly boolean[]) {
    this.#isFinished = isFinished;
  }

  /** How many records there are. */
  get count(): number {
    return this.#isFinished.filter((isFinished) => isFinished).length;
  }

  /** How many of the first samples are finished. */
  countOf(sampleCount: number): number {
    return this.#isFinished.slice(0, sampleCount).filter((isFinished) => isFinished).length;
  }

  /**
   * Reads the records of an output file; a missing file has none. Each record must be that of one
   * of the samples: where several samples are the same, the first ones are the finished ones.
   *
   * @param path The output file.
   * @param input The samples, and the file that they are from.
   * @throws {FileError} If a line is not a record, or not that of a sample which has none yet.
   */
  static async read(
    path: string,
    input: { survey: SampleSurvey; inputPath: string },
  ): Promise<FinishedSamples> {
    const { survey, inputPath } = input;
    const isFinished = survey.keys.map(() => false);
    if (!(await hasContent(path))) return new FinishedSamples(isFinished);
    const open = new Map<string, number[]>();
    for (const [number, key] of survey.keys.entries()) {
      const numbers = open.get(key);
      if (numbers === undefined) open.set(key, [number]);
      else numbers.push(number);
    }
    for await (const { text, line } of readTextLines(path)) {
      const key = sampleKey(parseSample(text, { place: `${path}: line ${line}` }));
      const number = open.get(key)?.shift();
      if (number === undefined) {
        const fault = open.has(key)
          ? "repeats a sample that another line holds"
          : "holds index, context and query of no sample there";
        throw new FileError(
          `Cannot continue ${path} with the samples of ${inputPath}: line ${line} ${fault}`,
        );
      }
      isFinished[number] = true;
    }
    return new FinishedSamples(isFinished);
  }

  /** Whether a sample is finished. @param number Its place in the input, from 0 on. */
  has(number: number): boolean {
    return this.#isFinished[number] === true;
  }
}
