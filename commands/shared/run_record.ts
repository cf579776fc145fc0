/**
 * What results were made with: `run.json` beside them, so that a run is only ever continued with
 * the same model, data and options.
 *
 * @module
 */
import { type Metric, METRICS } from "../../ruler/metrics.ts";
import { FileError, UsageError } from "../../lib/errors.ts";
import { replaceFile } from "../../lib/files.ts";
import { isJsonObject, readJsonFile } from "../../lib/text_file.ts";
import { UNGIVEN_WEIGHTS } from "./weights.ts";

/** A value of an option in `run.json`. */
export type OptionValue = string | number | boolean | null | readonly (string | number)[];

/** The data of one task, or of `infer`'s input. */
export interface DataRecord {
  readonly sha256: string;
  readonly samples: number;
  /** Whose word lists it was made with: RULER's, or those of a package. */
  readonly words?: "ruler" | "builtin";
  /** The frequencies of cwe's words. */
  readonly cwe_freq?: readonly number[];
  /** Of a task of one's own: how it is scored, and what its generator is set to. */
  readonly metric?: Metric;
  readonly settings?: string;
}

/** A session that added results. */
export interface RunSession {
  /** When it began to load the model; ISO 8601. */
  readonly date: string;
  /** The command line, the subcommand first. */
  readonly command: string;
  /** The program's commit, where it runs from a repository. */
  readonly commit?: string;
  readonly deno: string;
  /** The machine's name, and the device as the engine describes it. */
  readonly host: string;
  readonly device: string;
}

/** How results were made. */
export interface RunRecord {
  /** Version of this program. */
  readonly version: string;
  readonly model: {
    readonly path: string;
    /** Of configuration, tokenizer and weights. */
    readonly sha256: string;
    /** Of `tokenizer.json` alone. */
    readonly tokenizer?: string;
  };
  /** SHA-256 of the kernel library. */
  readonly kernels?: string;
  /** Every session that finished a sample, oldest first. */
  readonly sessions?: readonly RunSession[];
  /** Options that change results, by the names of their flags. */
  readonly options: Readonly<Record<string, OptionValue>>;
  /** Options that do not; a continued run may have others. */
  readonly unchecked: Readonly<Record<string, OptionValue>>;
  /** By task; `input` in `infer`. */
  readonly data: Readonly<Record<string, DataRecord>>;
}

/** The file's name. */
export const RUN_FILE = "run.json";

const MAX_BYTES = 1 << 24;

/**
 * Reads `run.json`.
 *
 * @param path Its path.
 * @returns Its value, or undefined if it does not exist.
 * @throws {FileError} If it is not a JSON object.
 */
export async function readRunFile(path: string): Promise<Record<string, unknown> | undefined> {
  try {
    await Deno.stat(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
  }
  const value = await readJsonFile(path, { maxBytes: MAX_BYTES });
  if (isJsonObject(value)) return value;
  throw new FileError(`Cannot read ${path}: it is not a JSON object`);
}

/**
 * Checks what `run.json` holds about one run.
 *
 * @throws {FileError} If it is not a record of a run; the message names the field.
 */
export function parseRunRecord(value: unknown, path: string): RunRecord {
  const fault = (field: string, rule: string): FileError =>
    new FileError(`Cannot read ${path}: it does not describe a run, as '${field}' must be ${rule}`);
  const check = (object: unknown, name: string, fields: Fields): void => {
    if (!isJsonObject(object)) throw fault(name, "an object");
    for (const [field, [rule, isRight]] of Object.entries(fields)) {
      if (!isRight(object[field])) throw fault(name === "" ? field : `${name}.${field}`, rule);
    }
  };
  check(value, "", RECORD);
  const { model, data, sessions = [] } = value as Record<string, unknown>;
  check(model, "model", MODEL);
  for (const [name, one] of Object.entries(data as object)) check(one, `data.${name}`, DATA);
  (sessions as unknown[]).forEach((session, i) => check(session, `sessions.${i}`, SESSION));
  return value as unknown as RunRecord;
}

/** What a field must be, in words and as a test. */
type Fields = Readonly<
  Record<string, readonly [rule: string, isRight: (value: unknown) => boolean]>
>;

const isText = (value: unknown): boolean => typeof value === "string";
const isAbsentOr = (test: (value: unknown) => boolean) => (value: unknown): boolean =>
  value === undefined || test(value);
const isNumbers = (value: unknown): boolean =>
  Array.isArray(value) && value.every((item) => typeof item === "number");
const isSimple = (value: unknown): boolean =>
  value === null || ["string", "number", "boolean"].includes(typeof value);
const isOptions = (value: unknown): boolean =>
  isJsonObject(value) &&
  Object.values(value).every((one) => Array.isArray(one) ? one.every(isSimple) : isSimple(one));

const METRIC_NAMES: readonly unknown[] = Object.values(METRICS);

const TEXT = ["a text", isText] as const;
const PERHAPS_TEXT = ["a text", isAbsentOr(isText)] as const;
const OPTIONS = ["an object of texts and numbers", isOptions] as const;

const RECORD: Fields = {
  version: TEXT,
  model: ["an object", isJsonObject],
  kernels: PERHAPS_TEXT,
  sessions: ["an array", isAbsentOr(Array.isArray)],
  options: OPTIONS,
  unchecked: OPTIONS,
  data: ["an object", isJsonObject],
};
const MODEL: Fields = { path: TEXT, sha256: TEXT, tokenizer: PERHAPS_TEXT };
const DATA: Fields = {
  sha256: TEXT,
  samples: ["a whole number", Number.isSafeInteger],
  words: PERHAPS_TEXT,
  cwe_freq: ["an array of numbers", isAbsentOr(isNumbers)],
  metric: ["a metric", isAbsentOr((value) => METRIC_NAMES.includes(value))],
  settings: PERHAPS_TEXT,
};
const SESSION: Fields = {
  date: TEXT,
  command: TEXT,
  commit: PERHAPS_TEXT,
  deno: TEXT,
  host: TEXT,
  device: TEXT,
};

/** Replaces `run.json`. @throws {FileError} If it cannot be written. */
export async function writeRunFile(path: string, value: unknown): Promise<void> {
  await replaceFile(path, [`${JSON.stringify(value, null, 2)}\n`]);
}

/**
 * Refuses to continue a run with other options.
 *
 * @param before What the results were made with.
 * @param now What they would be continued with; data that only one of them has is not compared.
 * @param options `folder` names the results; `remedy` ends the message.
 * @throws {UsageError} If anything differs that changes results: the message names it and both
 * values.
 */
export function checkSameRun(
  before: RunRecord,
  now: RunRecord,
  options: { folder: string; remedy: string },
): void {
  const refuse = (name: string, values: { before: unknown; now: unknown }): never => {
    throw new UsageError(
      `${name}: cannot continue the results in ${options.folder}, which were made with ` +
        `${showValue(values.before)}: current value is ${showValue(values.now)} ` +
        `(${options.remedy})`,
    );
  };
  if (before.version !== now.version) {
    refuse("version", { before: before.version, now: now.version });
  }
  if (before.model.sha256 !== now.model.sha256) {
    refuse("--model_path", {
      before: `another model (${before.model.path})`,
      now: now.model.path,
    });
  }
  if (!isSame(before.kernels ?? now.kernels, now.kernels)) {
    refuse("kernel library", {
      before: `SHA-256 ${before.kernels?.slice(0, 12)}...`,
      now: `${now.kernels?.slice(0, 12)}...`,
    });
  }
  const names = new Set([...Object.keys(before.options), ...Object.keys(now.options)]);
  for (const name of names) {
    const values = { before: before.options[name], now: now.options[name] };
    if (isSame(values.before, values.now)) continue;
    const ungiven = UNGIVEN_WEIGHTS[name];
    refuse(shownOption(name), { before: values.before ?? ungiven, now: values.now ?? ungiven });
  }
  for (const [name, data] of Object.entries(now.data)) {
    const earlier = before.data[name];
    if (earlier === undefined) continue;
    if (!isSame(earlier.settings, data.settings)) {
      refuse("--tasks_file", { before: earlier.settings, now: data.settings });
    }
    if (!isSame(earlier.cwe_freq, data.cwe_freq)) {
      refuse("--cwe_freq", { before: earlier.cwe_freq, now: data.cwe_freq });
    }
    if (earlier.sha256 !== data.sha256) {
      refuse(`data of ${name}`, {
        before: `SHA-256 ${earlier.sha256.slice(0, 12)}...`,
        now: `${data.sha256.slice(0, 12)}...`,
      });
    }
  }
}

/** An option's name for messages about results that were made with another value. */
export function shownOption(name: string): string {
  return WITHOUT_FLAG[name] ?? `--${name}`;
}

/** What has no flag; of sets, only those that were forced can differ. */
const WITHOUT_FLAG: Readonly<Record<string, string>> = {
  rows_set: "STARX_ISA, rows of decode steps",
  forced_set: "STARX_ISA",
  end_ids: "eos_token_id of config.json and generation_config.json",
};

function isSame(a: unknown, b: unknown): boolean {
  return JSON.stringify(a ?? null) === JSON.stringify(b ?? null);
}

function showValue(value: unknown): string {
  if (value === undefined || value === null) return "none";
  if (Array.isArray(value)) return value.length === 0 ? "none" : value.join(" ");
  return typeof value === "string" ? value : JSON.stringify(value);
}
