/**
 * The samples that a command runs, and the records that it writes about them.
 *
 * Fields and order are those of `run_star_attn_inference.py` of NVIDIA/Star-Attention.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { errorText, FileError } from "../../lib/errors.ts";
import type { Generation } from "../../lib/engine/load_model.ts";
import { readLines } from "../../ruler/files.ts";
import { floatRepr } from "../../ruler/python/float.ts";
import {
  dumpJsonText,
  JsonNumber,
  type JsonValue,
  parseJsonText,
} from "../../ruler/python/json_text.ts";

/** One sample of an input file. */
export interface InputSample {
  readonly context: string;
  readonly query: string;
  /** Its `index`; -1 if the line has none. */
  readonly index: JsonValue;
  /** The whole line. */
  readonly record: ReadonlyMap<string, JsonValue>;
}

/** What {@linkcode surveySamples} found. */
export interface SampleSurvey {
  readonly sampleCount: number;
  /** SHA-256 of all lines, newlines included, in hexadecimal. */
  readonly sha256: string;
}

const NO_INDEX = new JsonNumber("-1", { isWhole: true });
const UNKNOWN = NO_INDEX;

/**
 * Reads the samples of a file of JSON lines, one at a time.
 *
 * @param path The file; blank lines are allowed at its end.
 * @throws {FileError} If it cannot be read, or a line is not JSON or lacks a field; the message
 * names file and line.
 */
export async function* readSamples(path: string): AsyncGenerator<InputSample> {
  for await (const { text, line } of readTextLines(path)) {
    yield parseSample(text, `${path}: line ${line}`);
  }
}

/**
 * Checks every line of a file before anything runs.
 *
 * @throws {FileError} As {@linkcode readSamples}.
 */
export async function surveySamples(path: string): Promise<SampleSurvey> {
  const hash = createHash("sha256");
  let sampleCount = 0;
  for await (const { text, line } of readTextLines(path)) {
    parseSample(text, `${path}: line ${line}`);
    hash.update(text).update("\n");
    sampleCount++;
  }
  return { sampleCount, sha256: hash.digest("hex") };
}

async function* readTextLines(path: string): AsyncGenerator<{ text: string; line: number }> {
  let line = 0;
  let blank = 0;
  for await (const raw of readLines(path)) {
    line++;
    const text = line === 1 ? raw.replace(/^\ufeff/, "") : raw;
    if (text.trim() === "") {
      blank ||= line;
      continue;
    }
    if (blank > 0) throw new FileError(`Cannot read ${path}: line ${blank} is blank`);
    yield { text, line };
  }
}

function parseSample(text: string, place: string): InputSample {
  let record: JsonValue;
  try {
    record = parseJsonText(text);
  } catch (error) {
    throw new FileError(`Cannot read ${place} is not JSON (${errorText(error)})`, { cause: error });
  }
  if (!(record instanceof Map)) throw new FileError(`Cannot read ${place} is not a JSON object`);
  if (!record.has("outputs") && !record.has("output")) {
    throw new FileError(`Cannot read ${place} lacks 'outputs' or 'output'`);
  }
  return {
    context: textField(record, { name: "input_context", place }),
    query: textField(record, { name: "input_query", place }),
    index: record.get("index") ?? NO_INDEX,
    record,
  };
}

function textField(
  record: ReadonlyMap<string, JsonValue>,
  options: { name: string; place: string },
): string {
  const value = record.get(options.name);
  if (typeof value === "string") return value;
  throw new FileError(`Cannot read ${options.place} needs a text in '${options.name}'`);
}

/**
 * The record of a finished sample.
 *
 * @param sample What was asked.
 * @param generation What was generated.
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
    ["pred", generation.text],
    ["input_context", sample.context],
    ["input_query", sample.query],
    ["outputs", record.get("outputs") ?? [record.get("output") ?? null]],
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

function wholeNumber(value: number): JsonNumber {
  return new JsonNumber(String(value), { isWhole: true });
}

function decimalNumber(value: number): JsonNumber {
  return new JsonNumber(floatRepr(value), { isWhole: false });
}

/** Samples that an earlier run finished, by their index. */
export class FinishedSamples {
  readonly #counts = new Map<string, number>();
  #total = 0;

  /** How many records there are. */
  get count(): number {
    return this.#total;
  }

  /**
   * Reads the records of an output file; a missing file has none.
   *
   * @throws {FileError} If a line is not a record.
   */
  static async read(path: string): Promise<FinishedSamples> {
    const finished = new FinishedSamples();
    if (!(await hasContent(path))) return finished;
    for await (const { text, line } of readTextLines(path)) {
      const { index } = parseSample(text, `${path}: line ${line}`);
      const key = dumpJsonText(index);
      finished.#counts.set(key, (finished.#counts.get(key) ?? 0) + 1);
      finished.#total++;
    }
    return finished;
  }

  /**
   * Whether a sample is finished. Each record stands for one sample: where several share an index,
   * or have none, the first ones are the finished ones.
   */
  take(sample: InputSample): boolean {
    const key = dumpJsonText(sample.index);
    const count = this.#counts.get(key) ?? 0;
    if (count === 0) return false;
    this.#counts.set(key, count - 1);
    return true;
  }
}

/** Whether a file exists and is not empty. */
export async function hasContent(path: string): Promise<boolean> {
  try {
    return (await Deno.stat(path)).size > 0;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw new FileError(`Cannot read ${path}: ${errorText(error)}`, { cause: error });
  }
}
