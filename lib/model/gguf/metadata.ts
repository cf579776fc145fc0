/**
 * The keys and values at the start of a GGUF file, with errors that name file and key.
 *
 * @module
 */
import { FileError } from "../../errors.ts";
import { describeValue } from "../../text_file.ts";

/** An array of a GGUF file; its items are read when they are asked for. */
export interface GgufArray {
  readonly count: number;
  /** @throws {FileError} If the items are no strings, or one is not UTF-8. */
  strings(): string[];
  /** @throws {FileError} If the items are no numbers. */
  numbers(): number[];
}

/** A value; a number is as near to the file's as a double is. */
export type GgufValue = number | boolean | string | GgufArray;

/** What a GGUF file says of itself. */
export class GgufMetadata {
  /** The file, for messages. */
  readonly path: string;
  readonly #values: ReadonlyMap<string, GgufValue>;

  constructor(values: ReadonlyMap<string, GgufValue>, path: string) {
    this.#values = values;
    this.path = path;
  }

  has(key: string): boolean {
    return this.#values.has(key);
  }

  /** @throws {FileError} If it is there and no text. */
  text(key: string): string | undefined {
    const value = this.#values.get(key);
    if (value === undefined || typeof value === "string") return value;
    throw this.refusal(key, "a text");
  }

  /** @throws {FileError} If it is there and no number. */
  number(key: string): number | undefined {
    const value = this.#values.get(key);
    if (value === undefined || typeof value === "number") return value;
    throw this.refusal(key, "a number");
  }

  /** @throws {FileError} If it is no number, or is not there. */
  required(key: string): number {
    const value = this.number(key);
    if (value === undefined) throw this.refusal(key, "a number");
    return value;
  }

  /** @throws {FileError} If it is there and neither true nor false. */
  flag(key: string): boolean | undefined {
    const value = this.#values.get(key);
    if (value === undefined || typeof value === "boolean") return value;
    throw this.refusal(key, "true or false");
  }

  /** @throws {FileError} If it is there and no array. */
  array(key: string): GgufArray | undefined {
    const value = this.#values.get(key);
    if (value === undefined || typeof value === "object") return value;
    throw this.refusal(key, "an array");
  }

  /** Refuses a key whose value would change the computation. @throws {FileError} */
  expect(key: string, neutral: number | boolean): void {
    const value = this.#values.get(key);
    if (value === undefined || value === neutral) return;
    throw this.refusal(key, `${neutral} or absent`);
  }

  /** The error about a key. */
  refusal(key: string, expected: string): FileError {
    const found = this.#values.get(key);
    const words = typeof found === "object" ? `an array of ${found.count}` : describeValue(found);
    return new FileError(
      `Cannot read the model as '${key}' in ${this.path} must be ${expected}: ` +
        `current value is ${words}`,
    );
  }
}
