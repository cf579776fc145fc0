/**
 * Reads the keys of a `config.json`: their types and ranges, with errors that name file and key.
 *
 * A reader remembers which keys were asked for. What no family asks for, and would change the
 * computation, is refused at the end: silence there would give wrong results.
 *
 * @module
 */
import { FileError } from "../errors.ts";
import { describeValue, isJsonObject } from "../text_file.ts";

/** Limits of a number, both inclusive. */
export interface ConfigLimits {
  readonly min: number;
  readonly max: number;
  /** Stands in for a key that is absent or null. */
  readonly fallback?: number;
}

/** An object of the configuration. */
export class ConfigReader {
  /** The file, for messages. */
  readonly path: string;
  /** What stands before a key's name, for example `rope_scaling.`. */
  readonly #prefix: string;
  readonly #values: Readonly<Record<string, unknown>>;
  readonly #keyNames: Readonly<Record<string, string>>;
  readonly #asked = new Set<string>();

  /** @param options `keyNames`: what the file itself calls some keys, for messages. */
  constructor(
    values: Readonly<Record<string, unknown>>,
    options: {
      path: string;
      prefix?: string;
      keyNames?: Readonly<Record<string, string>> | undefined;
    },
  ) {
    this.#values = values;
    this.path = options.path;
    this.#prefix = options.prefix ?? "";
    this.#keyNames = options.keyNames ?? {};
  }

  /** A key's value as it is; null counts as absent. */
  value(key: string): unknown {
    this.#asked.add(key);
    return this.#values[key] ?? undefined;
  }

  /** Whether a key is there, be it null. */
  has(key: string): boolean {
    return Object.hasOwn(this.#values, key);
  }

  /** The names of all keys. */
  keys(): string[] {
    return Object.keys(this.#values);
  }

  /** @throws {FileError} If it is no number of the range. */
  number(key: string, limits: ConfigLimits): number {
    const found = this.value(key) ?? limits.fallback;
    const { min, max } = limits;
    if (typeof found !== "number" || !(found >= min && found <= max)) {
      throw this.refusal(key, { expected: `a number from ${min} to ${max}`, found });
    }
    return found;
  }

  /** @throws {FileError} If it is no whole number of the range. */
  whole(key: string, limits: ConfigLimits): number {
    const found = this.value(key) ?? limits.fallback;
    const { min, max } = limits;
    if (typeof found !== "number" || !Number.isInteger(found) || found < min || found > max) {
      throw this.refusal(key, { expected: `a whole number from ${min} to ${max}`, found });
    }
    return found;
  }

  /** True or false. @throws {FileError} If it is neither. */
  flag(key: string, fallback = false): boolean {
    const found = this.value(key) ?? fallback;
    if (typeof found !== "boolean") {
      throw this.refusal(key, { expected: "true or false", found });
    }
    return found;
  }

  /** An array of numbers of a range. @throws {FileError} If it is none, or of another length. */
  numbers(key: string, limits: { min: number; max: number; length: number }): readonly number[] {
    const found = this.value(key);
    const { min, max, length } = limits;
    const isGood = (value: unknown): value is number =>
      typeof value === "number" && value >= min && value <= max;
    if (!Array.isArray(found) || found.length !== length || !found.every(isGood)) {
      const expected = `an array of ${length} numbers from ${min} to ${max}`;
      throw this.refusal(key, { expected, found });
    }
    return found;
  }

  /** An object inside this one. @throws {FileError} If it is something else. */
  section(key: string): ConfigReader | undefined {
    const found = this.value(key);
    if (found === undefined) return undefined;
    if (!isJsonObject(found)) throw this.refusal(key, { expected: "an object or null", found });
    const prefix = `${this.#prefix}${key}.`;
    return new ConfigReader(found, { path: this.path, prefix, keyNames: this.#keyNames });
  }

  /** Refuses a key that must have one value, or be absent. @throws {FileError} */
  expect(key: string, expected: unknown): void {
    const found = this.value(key);
    if (found === undefined || found === expected) return;
    const words = expected === undefined ? "absent" : describeValue(expected);
    throw this.refusal(key, { expected: words, found });
  }

  /**
   * Refuses what was not asked for and would change the computation.
   *
   * @param neutral Keys with the value that changes nothing; undefined where they must be absent.
   */
  refuseUnread(neutral: Readonly<Record<string, unknown>>): void {
    for (const [key, expected] of Object.entries(neutral)) {
      if (!this.#asked.has(key)) this.expect(key, expected);
    }
  }

  /** The error about a key. */
  refusal(key: string, options: { expected: string; found: unknown }): FileError {
    const full = `${this.#prefix}${key}`;
    const name = this.#keyNames[full] ?? full;
    return new FileError(
      `Cannot read the model as '${name}' in ${this.path} must be ${options.expected}: ` +
        `current value is ${describeValue(options.found)}`,
    );
  }
}
