/**
 * The figures of `bench/`: files of JSON lines, one record per line, as they were measured.
 *
 * @module
 */
import { FileError } from "../../lib/errors.ts";
import { readJsonLines } from "../../lib/jsonl.ts";
import { describeValue, isJsonObject } from "../../lib/text_file.ts";

/** A record and where it stands. */
export interface BenchRecord {
  readonly file: string;
  /** Counted from 1. */
  readonly line: number;
  readonly value: unknown;
}

/** What a record must have at some places; `decode.0.ctx` is the first decoding's context. */
export type Where = Readonly<Record<string, string | number>>;

/** All records, by the names of their files without the ending. */
export class BenchRecords {
  readonly #files: ReadonlyMap<string, readonly BenchRecord[]>;

  constructor(files: ReadonlyMap<string, readonly BenchRecord[]>) {
    this.#files = files;
  }

  /** @throws {FileError} If a file cannot be read. */
  static async read(folder: string): Promise<BenchRecords> {
    const files = new Map<string, BenchRecord[]>();
    for await (const { name } of Deno.readDir(folder)) {
      if (!name.endsWith(".jsonl")) continue;
      const records: BenchRecord[] = [];
      const path = `${folder}/${name}`;
      for await (const { line, value } of readJsonLines(path)) {
        records.push({ file: `bench/${name}`, line, value });
      }
      files.set(name.slice(0, -".jsonl".length), records);
    }
    return new BenchRecords(files);
  }

  /** The one record of a file that has some values. @throws {FileError} If there is not one. */
  one(file: string, where: Where): BenchRecord {
    const found = this.#with(file, where);
    const [record] = found;
    if (record !== undefined && found.length === 1) return record;
    throw wrongCount(file, { where, rule: "one record", count: found.length });
  }

  /** All records of a file that have some values, in their order. @throws {FileError} If there is none. */
  all(file: string, where: Where): readonly BenchRecord[] {
    const found = this.#with(file, where);
    if (found.length > 0) return found;
    throw wrongCount(file, { where, rule: "a record", count: found.length });
  }

  #with(file: string, where: Where): BenchRecord[] {
    return (this.#files.get(file) ?? []).filter((record) =>
      Object.entries(where).every(([path, value]) => valueAt(record, path) === value)
    );
  }
}

function wrongCount(
  file: string,
  options: { where: Where; rule: string; count: number },
): FileError {
  const { where, rule, count } = options;
  return new FileError(
    `Cannot make a table as bench/${file}.jsonl must have ${rule} with ` +
      `${JSON.stringify(where)}: ${count} were found`,
  );
}

/** What stands at a place in a record; undefined if there is no such place. */
function valueAt(record: BenchRecord, path: string): unknown {
  let value = record.value;
  for (const key of path.split(".")) {
    if (Array.isArray(value)) value = value[Number(key)];
    else value = isJsonObject(value) && Object.hasOwn(value, key) ? value[key] : undefined;
  }
  return value;
}

/** A number of a record. @throws {FileError} If it is none. */
export function numberAt(record: BenchRecord, path: string): number {
  const value = valueAt(record, path);
  if (typeof value === "number") return value;
  throw wrongValue(record, { path, expected: "a number", value });
}

/** Some numbers of a record, one at least. @throws {FileError} If they are none. */
export function numbersAt(record: BenchRecord, path: string): number[] {
  const value = valueAt(record, path);
  const numbers = Array.isArray(value) ? value.filter((one) => typeof one === "number") : [];
  if (Array.isArray(value) && numbers.length === value.length && numbers.length > 0) return numbers;
  throw wrongValue(record, { path, expected: "an array of numbers", value });
}

function wrongValue(
  { file, line }: BenchRecord,
  options: { path: string; expected: string; value: unknown },
): FileError {
  const { path, expected, value } = options;
  return new FileError(
    `Cannot make a table as '${path}' of ${file}, line ${line}, must be ${expected}: ` +
      `current value is ${describeValue(value)}`,
  );
}
