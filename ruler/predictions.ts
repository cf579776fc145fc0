/**
 * Reads the predictions of a results folder: one JSON line per sample, in one file per task or in
 * numbered chunks of it. Follows `aggregate_chunk` and `get_pred_and_ref` of
 * `ruler/eval/evaluate.py` (NVIDIA/Star-Attention).
 *
 * @module
 */
import { errorText, FileError } from "../lib/errors.ts";
import { listFolder, removeFile, replaceFile } from "../lib/files.ts";
import { readLines } from "../lib/text_file.ts";
import { cleanPrediction } from "./metrics.ts";
import { dumpJsonText, JsonNumber, type JsonValue, parseJsonText } from "./python/json_text.ts";

/** The prediction files of a folder. */
export interface PredictionFiles {
  /** Names of the files that are no chunks, without `.jsonl`. */
  readonly tasks: ReadonlySet<string>;
  /** File names of the chunks by the name of their task, in the order in which they are joined. */
  readonly chunks: ReadonlyMap<string, readonly string[]>;
}

/** One sample as evaluation needs it. */
export interface PredictedSample {
  /** The generated text, cleaned. */
  readonly text: string;
  /** The answers; `null` stands where the data has none. */
  readonly answers: readonly (string | null)[];
  /** `id` of the field `others`, else `index`. */
  readonly id: JsonValue;
  /** The prompt's query; empty where the record has none. */
  readonly query: string;
}

/**
 * Lists the prediction files of a folder.
 *
 * Chunks are ordered by their names as text, so `-10` comes before `-2`, as in the original.
 *
 * @param folder The results of one length.
 * @throws {FileError} If it is not a folder.
 */
export async function listPredictions(folder: string): Promise<PredictionFiles> {
  const names = (await listFolder(folder)).map(({ name }) => name)
    .filter((name) => name.endsWith(".jsonl") && name !== ".jsonl");
  const tasks = new Set<string>();
  const chunks = new Map<string, string[]>();
  for (const name of names.sort()) {
    if (!/^.*[^_]+-\d+\.jsonl/.test(name)) {
      tasks.add(name.slice(0, -".jsonl".length));
      continue;
    }
    const task = name.slice(0, name.lastIndexOf("-"));
    chunks.set(task, [...chunks.get(task) ?? [], name]);
  }
  return { tasks, chunks };
}

/**
 * The lines of several files, one after the other.
 *
 * @param paths Files of JSON lines.
 * @throws {FileError} If a file cannot be read or a line is not a whole JSON object.
 */
export async function* readRecords(
  paths: readonly string[],
): AsyncGenerator<{ record: Map<string, JsonValue>; place: string }> {
  for (const path of paths) {
    let line = 0;
    for await (const text of readLines(path)) {
      line++;
      const place = `${path}, line ${line}`;
      yield { record: parseRecord(text, place), place };
    }
  }
}

function parseRecord(text: string, place: string): Map<string, JsonValue> {
  try {
    const value = parseJsonText(text);
    if (value instanceof Map) return value;
  } catch (error) {
    throw new FileError(`Cannot read ${place}: it is not whole (${errorText(error)})`, {
      cause: error,
    });
  }
  throw new FileError(`Cannot read ${place}: it is not a JSON object`);
}

/**
 * The samples of one task.
 *
 * @param paths The file of the task, or its chunks.
 * @throws {FileError} As {@linkcode readRecords}, and if a line lacks a field.
 */
export async function* readSamples(paths: readonly string[]): AsyncGenerator<PredictedSample> {
  for await (const { record, place } of readRecords(paths)) yield toSample(record, place);
}

function toSample(record: Map<string, JsonValue>, place: string): PredictedSample {
  const others = record.get("others");
  if (!(others instanceof Map)) throw fieldError("others", { place, rule: "be an object" });
  const index = record.get("index");
  if (index === undefined) throw fieldError("index", { place, rule: "be there" });
  const answers = record.has("outputs") ? record.get("outputs") : [record.get("output") ?? ""];
  const isText = (value: JsonValue) => typeof value === "string" || value === null;
  if (!Array.isArray(answers) || !answers.every(isText)) {
    throw fieldError("outputs", { place, rule: "be a list of texts" });
  }
  const prediction = record.get("pred");
  if (typeof prediction !== "string") throw fieldError("pred", { place, rule: "be a text" });
  return {
    text: cleanPrediction(prediction),
    answers: answers.map((answer) => answer === null ? null : textOf(answer)),
    id: others.get("id") ?? (others.has("id") ? null : index),
    query: textOf(record.get("input_query")),
  };
}

function textOf(value: JsonValue | undefined): string {
  return typeof value === "string" ? value : "";
}

function fieldError(field: string, options: { place: string; rule: string }): FileError {
  return new FileError(`Cannot read ${options.place}: field '${field}' must ${options.rule}`);
}

/**
 * Joins the chunks of a task into one file and removes them.
 *
 * @param folder The results of one length.
 * @param task The name of the file to write, without `.jsonl`; one that exists is replaced.
 * @param options The chunks' file names in their order.
 * @throws {FileError} As {@linkcode readRecords}, and if a file cannot be written or removed; the
 * chunks are there until the joined file is.
 */
export async function joinChunks(
  folder: string,
  task: string,
  options: { names: readonly string[] },
): Promise<void> {
  const paths = options.names.map((name) => `${folder}/${name}`);
  await replaceFile(`${folder}/${task}.jsonl`, dumpRecords(paths));
  for (const path of paths) await removeFile(path);
}

async function* dumpRecords(paths: readonly string[]): AsyncGenerator<string> {
  for await (const { record } of readRecords(paths)) yield `${dumpJsonText(record)}\n`;
}

/**
 * The identifiers of a task's samples as the cells of a column: as pandas infers its type, whole
 * numbers become decimal ones as soon as one value is decimal or missing.
 *
 * @param ids The identifiers of one task.
 */
export function idCells(ids: readonly JsonValue[]): string[] {
  const isNumeric = ids.every((id) => id === null || id instanceof JsonNumber);
  const hasDecimals = ids.some((id) => !(id instanceof JsonNumber && id.isWhole));
  return ids.map((id) => {
    if (id === null) return "";
    if (typeof id === "boolean") return id ? "True" : "False";
    if (typeof id === "string") return id;
    if (!(id instanceof JsonNumber)) return dumpJsonText(id);
    return isNumeric && hasDecimals && id.isWhole ? `${id.text}.0` : id.text;
  });
}
