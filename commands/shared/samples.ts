/**
 * The samples of an input file: their fields, and a survey of all before anything runs.
 *
 * Fields are those of `run_star_attn_inference.py` of NVIDIA/Star-Attention (`input_context`,
 * `input_query`) or of NVIDIA/RULER (`input`, `answer_prefix`).
 *
 * @module
 */
import { createHash } from "node:crypto";
import { errorText, FileError } from "../../lib/errors.ts";
import { withoutBlanks } from "../../lib/jsonl.ts";
import { readLines } from "../../lib/text_file.ts";
import { cutQuestion } from "../../ruler/generators_2026/templates.ts";
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
  /** The same of the first lines alone, if that was asked for and there are as many. */
  readonly prefixSha256?: string;
  /** Each sample's own digest, to notice a file that changes while it is read. */
  readonly digests: readonly string[];
  /** Each sample's {@linkcode sampleKey}. */
  readonly keys: readonly string[];
  /** Of each sample's context: where two are the same, so are the contexts. */
  readonly contexts: readonly string[];
}

const NO_INDEX = new JsonNumber("-1", { isWhole: true });

/** What a file's samples must have. */
export interface SampleRules {
  /**
   * Whether a line without answers is refused.
   *
   * @default {false}
   */
  readonly needsAnswers?: boolean;
  /**
   * Whether a prompt in RULER's form is cut in front of its task's question, so that the question
   * belongs to the query; else it is the context's end.
   *
   * @default {false}
   */
  readonly cutsQuestion?: boolean;
}

/**
 * Reads the samples of a file of JSON lines, one at a time.
 *
 * @param path The file; blank lines are allowed at its end.
 * @param options With a survey, each line must be the one that was surveyed.
 * @throws {FileError} If it cannot be read, a line is not JSON or lacks a field, or the file is not
 * what it was; the message names file and line.
 */
export async function* readSamples(
  path: string,
  options: Pick<SampleRules, "cutsQuestion"> & { survey?: SampleSurvey | undefined } = {},
): AsyncGenerator<InputSample> {
  const { survey, cutsQuestion = false } = options;
  let count = 0;
  for await (const { text, line } of readTextLines(path)) {
    if (survey !== undefined && survey.digests[count] !== lineDigest(text)) {
      throw changedError(path, line);
    }
    count++;
    yield parseSample(text, { place: `${path}: line ${line}`, cutsQuestion });
  }
  if (survey !== undefined && count < survey.sampleCount) throw changedError(path, count + 1);
}

function changedError(path: string, line: number): FileError {
  return new FileError(
    `Cannot go on with ${path} as it changed while the run went on: line ${line} is another one`,
  );
}

/** Short, as a file may have many lines. */
function lineDigest(text: string): string {
  return createHash("sha256").update(text).digest("base64").slice(0, 22);
}

/** What makes a sample the same one: its index, its context and its query. */
export function sampleKey(sample: Pick<InputSample, "index" | "context" | "query">): string {
  const { index, context, query } = sample;
  const digest = lineDigest(`${context.length} ${context}${query}`);
  return `${digest} ${dumpJsonText(index)}`;
}

/**
 * Checks every line of a file before anything runs.
 *
 * @param options With `prefixCount`, the first lines get a digest of their own.
 * @throws {FileError} As {@linkcode readSamples}.
 */
export async function surveySamples(
  path: string,
  options: SampleRules & { prefixCount?: number | undefined } = {},
): Promise<SampleSurvey> {
  const { prefixCount } = options;
  const hash = createHash("sha256");
  const digests: string[] = [];
  const keys: string[] = [];
  const contexts: string[] = [];
  let prefixSha256: string | undefined;
  for await (const { text, line } of readTextLines(path)) {
    const sample = parseSample(text, { ...options, place: `${path}: line ${line}` });
    hash.update(text).update("\n");
    digests.push(lineDigest(text));
    keys.push(sampleKey(sample));
    contexts.push(lineDigest(sample.context));
    if (digests.length === prefixCount) prefixSha256 = hash.copy().digest("hex");
  }
  return {
    sampleCount: digests.length,
    sha256: hash.digest("hex"),
    ...(prefixSha256 === undefined ? {} : { prefixSha256 }),
    digests,
    keys,
    contexts,
  };
}

/** The lines of a file; blank ones are allowed at its end. @throws {FileError} As `readLines()`. */
export function readTextLines(path: string): AsyncGenerator<{ text: string; line: number }> {
  return withoutBlanks(readLines(path), path);
}

/** One line as a sample. @throws {FileError} If it is none; the message starts with its place. */
export function parseSample(
  text: string,
  options: SampleRules & { place: string },
): InputSample {
  const { place, needsAnswers = false } = options;
  let record: JsonValue;
  try {
    record = parseJsonText(text);
  } catch (error) {
    throw new FileError(`Cannot read ${place} is not JSON (${errorText(error)})`, { cause: error });
  }
  if (!(record instanceof Map)) throw new FileError(`Cannot read ${place} is not a JSON object`);
  if (needsAnswers && !record.has("outputs") && !record.has("output")) {
    throw new FileError(`Cannot read ${place} lacks 'outputs' or 'output'`);
  }
  return {
    ...promptOf(record, options),
    index: record.get("index") ?? NO_INDEX,
    record,
  };
}

/** Context and query; in RULER's form the prompt is one text, and its answer's beginning another. */
function promptOf(
  record: ReadonlyMap<string, JsonValue>,
  options: Pick<SampleRules, "cutsQuestion"> & { place: string },
): Pick<InputSample, "context" | "query"> {
  const { place, cutsQuestion = false } = options;
  if (!record.has("input") || record.has("input_context")) {
    const context = textField(record, { name: "input_context", place });
    return { context, query: textField(record, { name: "input_query", place }) };
  }
  const context = textField(record, { name: "input", place });
  const query = record.get("answer_prefix");
  if (typeof query === "string" && query !== "") {
    const cut = cutsQuestion ? cutQuestion(context) : undefined;
    return cut === undefined
      ? { context, query }
      : { context: cut.context, query: cut.question + query };
  }
  throw new FileError(
    `Cannot read ${place} needs a text in 'answer_prefix' beside 'input', or 'input_context' and ` +
      "'input_query' in place of both",
  );
}

function textField(
  record: ReadonlyMap<string, JsonValue>,
  options: { name: string; place: string },
): string {
  const value = record.get(options.name);
  if (typeof value === "string") return value;
  throw new FileError(`Cannot read ${options.place} needs a text in '${options.name}'`);
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
