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

  /** The records of a file that have some values, one for each round. @throws {FileError} If there is none. */
  all(file: string, where: Where): readonly BenchRecord[] {
    const found = this.#find(file, where);
    if (found.length > 0) return found;
    throw this.#fault(file, { where, found, expected: "records" });
  }

  /** The one record of a file that has some values. @throws {FileError} If there is not one. */
  one(file: string, where: Where): BenchRecord {
    const found = this.#find(file, where);
    const [record] = found;
    if (record !== undefined && found.length === 1) return record;
    throw this.#fault(file, { where, found });
  }

  /** The same; undefined if there is none. @throws {FileError} If there are several. */
  find(file: string, where: Where): BenchRecord | undefined {
    const found = this.#find(file, where);
    if (found.length > 1) throw this.#fault(file, { where, found });
    return found[0];
  }

  #fault(
    file: string,
    fault: { where: Where; found: readonly BenchRecord[]; expected?: string },
  ): FileError {
    const { where, found, expected = "one record" } = fault;
    return new FileError(
      `Cannot make a table as bench/${file}.jsonl must have ${expected} with ` +
        `${JSON.stringify(where)}: ${found.length} were found`,
    );
  }

  #find(file: string, where: Where): readonly BenchRecord[] {
    return (this.#files.get(file) ?? []).filter((record) =>
      Object.entries(where).every(([path, value]) => valueAt(record, path) === value)
    );
  }
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

/** A text of a record. @throws {FileError} If it is none. */
export function textAt(record: BenchRecord, path: string): string {
  const value = valueAt(record, path);
  if (typeof value === "string") return value;
  throw wrongValue(record, { path, expected: "a text", value });
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
