/**
 * The records of one setting, task and length: JSON lines, the first of which says what they were
 * made with. Prompts are not repeated in them, as all settings have the same ones.
 *
 * @module
 */
import { dirname } from "node:path";
import { FileError, UsageError } from "../../lib/errors.ts";
import { readError } from "../../lib/files.ts";
import { JsonLinesWriter, parseJsonLine, recoverJsonLines } from "../../lib/jsonl.ts";
import { isJsonObject } from "../../lib/text_file.ts";
import { makeFolder } from "../shared/folder.ts";
import { type OptionValue, shownOption } from "../shared/run_record.ts";
import type { SampleSurvey } from "../shared/samples.ts";
import { REMEDY, type TaskPlace } from "./folder.ts";
import type { Setting } from "./settings.ts";

/** What a file of records begins with. */
export interface UnitHeader extends TaskPlace {
  readonly setting: Setting;
  /** The options that change results, by their flags, as `run.json` has them. */
  readonly options: Readonly<Record<string, OptionValue>>;
}

/** A finished sample. */
export interface SweepRecord {
  /** Its place in the data, from 0 on. */
  readonly number: number;
  /** Of its prompt: see `sampleKey()`. */
  readonly sample: string;
  readonly pred: string;
  /** 0 to 100; null without answers. */
  readonly score: number | null;
  readonly seconds: number;
  /** The share of the whole context's causal tiles that was computed. */
  readonly share: number;
  readonly contextTokens: number;
  readonly generatedTokens: number;
}

/** A file of records as it is. */
export interface Unit {
  readonly header: UnitHeader;
  /** By number. */
  readonly records: ReadonlyMap<number, SweepRecord>;
}

/**
 * Reads a file of records. One that is being written may end in the midst of a line, which does not
 * count yet.
 *
 * @returns Undefined if there is none, or nothing in it.
 * @throws {FileError} If it is damaged; the message names the line.
 */
export async function readUnit(path: string): Promise<Unit | undefined> {
  let text: string;
  try {
    text = await Deno.readTextFile(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw readError(path, error);
  }
  const [first, ...lines] = text.slice(0, text.lastIndexOf("\n") + 1).split("\n").slice(0, -1);
  if (first === undefined) return undefined;
  const header = headerIn(parseJsonLine(first, { path, line: 1 }), path);
  const records = new Map<number, SweepRecord>();
  for (const [i, line] of lines.entries()) {
    const place = { path, line: i + 2 };
    const record = recordIn(parseJsonLine(line, place), place);
    if (records.has(record.number)) {
      throw new FileError(
        `Cannot read ${path}: line ${place.line} repeats sample ${record.number}`,
      );
    }
    records.set(record.number, record);
  }
  return { header, records };
}

function headerIn(value: unknown, path: string): UnitHeader {
  const isHeader = isJsonObject(value) && isJsonObject(value.setting) &&
    typeof value.setting.attn_type === "string" && isJsonObject(value.options) &&
    typeof value.length === "number" && typeof value.task === "string";
  if (isHeader) return value as unknown as UnitHeader;
  throw new FileError(`Cannot read ${path}: its first line must have a setting of sweep`);
}

const NUMBERS = ["number", "seconds", "share", "contextTokens", "generatedTokens"] as const;

function recordIn(value: unknown, place: { path: string; line: number }): SweepRecord {
  const isRecord = isJsonObject(value) && typeof value.sample === "string" &&
    typeof value.pred === "string" && (value.score === null || typeof value.score === "number") &&
    NUMBERS.every((name) => typeof value[name] === "number");
  if (isRecord) return value as unknown as SweepRecord;
  throw new FileError(`Cannot read ${place.path}: line ${place.line} is no record of sweep`);
}

/** A file of records that takes further ones. */
export class UnitFile implements Disposable {
  readonly #writer: JsonLinesWriter;
  /** The numbers of the samples that are finished. */
  readonly finished: ReadonlySet<number>;

  private constructor(writer: JsonLinesWriter, finished: ReadonlySet<number>) {
    this.#writer = writer;
    this.finished = finished;
  }

  /**
   * Opens a file, or begins it; nobody else may have it.
   *
   * @param options `header`: what its records are to be made with; `survey`: of the data.
   * @throws {UsageError} If they were made with something else; the message names it.
   * @throws {FileError} If it is damaged, or a record is not of the data's sample.
   */
  static async open(
    path: string,
    options: { header: UnitHeader; survey: SampleSurvey },
  ): Promise<UnitFile> {
    const { header, survey } = options;
    await makeFolder(dirname(path));
    await recoverJsonLines(path);
    const before = await readUnit(path);
    if (before !== undefined) checkSameOptions(before.header, header, path);
    for (const { number, sample } of before?.records.values() ?? []) {
      if (survey.keys[number] === sample) continue;
      throw new FileError(
        `Cannot continue ${path}: sample ${number} of its data is another one now`,
      );
    }
    const writer = await JsonLinesWriter.open(path);
    if (before === undefined) await writer.append(header);
    return new UnitFile(writer, new Set(before?.records.keys() ?? []));
  }

  /** Keeps a finished sample; it is on disk when this returns. */
  async add(record: SweepRecord): Promise<void> {
    await this.#writer.append(record);
  }

  /** Closes the file; a second call does nothing. */
  [Symbol.dispose](): void {
    this.#writer[Symbol.dispose]();
  }
}

function checkSameOptions(before: UnitHeader, now: UnitHeader, path: string): void {
  const names = new Set([...Object.keys(before.options), ...Object.keys(now.options)]);
  for (const name of names) {
    const [was, is] = [before.options[name] ?? "none", now.options[name] ?? "none"];
    if (JSON.stringify(was) === JSON.stringify(is)) continue;
    throw new UsageError(
      `${
        shownOption(name)
      }: cannot continue ${path}, which was made with ${was}: current value is ${is} ` +
        `(${REMEDY})`,
    );
  }
}
