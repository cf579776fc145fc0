/**
 * Reads JSON and writes it again as Python's `json.loads` and `json.dumps` do: the order of keys,
 * whole numbers of any size and the difference between `1` and `1.0` are kept, which the built-in
 * parser cannot.
 *
 * @module
 */
import { floatRepr } from "./float.ts";

/** A number by its text, as Python prints it. */
export class JsonNumber {
  /** As `repr` prints it, except for `NaN` and `Infinity`, which are as JSON has them. */
  readonly text: string;
  readonly isWhole: boolean;

  constructor(text: string, options: { isWhole: boolean }) {
    this.text = text;
    this.isWhole = options.isWhole;
  }
}

/** A parsed value. */
export type JsonValue =
  | null
  | boolean
  | string
  | JsonNumber
  | JsonValue[]
  | Map<string, JsonValue>;

/** Python gives up at about this depth, too. */
const MAX_DEPTH = 900;
/** As Python, which refuses longer whole numbers: to read one takes the square of its length. */
const MAX_DIGITS = 4300;

const SPACES = /[ \t\n\r]*/y;
const NUMBER = /(-?(?:0|[1-9]\d*))(\.\d+)?([eE][-+]?\d+)?/y;
const WORDS: readonly (readonly [string, JsonValue])[] = [
  ["null", null],
  ["true", true],
  ["false", false],
  ["NaN", new JsonNumber("NaN", { isWhole: false })],
  ["Infinity", new JsonNumber("Infinity", { isWhole: false })],
  ["-Infinity", new JsonNumber("-Infinity", { isWhole: false })],
];

/**
 * Parses one JSON text.
 *
 * @param text The text; `NaN` and infinities are allowed, as in Python.
 * @returns Its value.
 * @throws {SyntaxError} If it is not JSON, or nested too deeply.
 */
export function parseJsonText(text: string): JsonValue {
  const reader = new Reader(text);
  const value = reader.value(0);
  reader.end();
  return value;
}

/**
 * Writes a value as `json.dumps` does: `", "` and `": "`, ASCII only.
 *
 * @param value What {@linkcode parseJsonText} returned.
 */
export function dumpJsonText(value: JsonValue): string {
  if (value === null || typeof value === "boolean") return String(value);
  if (typeof value === "string") return quote(value);
  if (value instanceof JsonNumber) return value.text;
  if (Array.isArray(value)) return `[${value.map(dumpJsonText).join(", ")}]`;
  const members = Array.from(value, ([key, item]) => `${quote(key)}: ${dumpJsonText(item)}`);
  return `{${members.join(", ")}}`;
}

function quote(text: string): string {
  // The built-in writer agrees with Python but for characters that are not ASCII.
  return JSON.stringify(text).replace(/[\u0080-\uffff]/g, (unit) => {
    return `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`;
  });
}

/** A recursive-descent reader over one text. */
class Reader {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  value(depth: number): JsonValue {
    if (depth > MAX_DEPTH) throw this.#error("is nested too deeply");
    this.#skipSpaces();
    const first = this.#text.charAt(this.#at);
    if (first === '"') return this.#string();
    if (first === "[") return this.#array(depth);
    if (first === "{") return this.#object(depth);
    for (const [word, value] of WORDS) {
      if (!this.#text.startsWith(word, this.#at)) continue;
      this.#at += word.length;
      return value;
    }
    return this.#number();
  }

  end(): void {
    this.#skipSpaces();
    if (this.#at < this.#text.length) throw this.#error("goes on behind its end");
  }

  #array(depth: number): JsonValue[] {
    const items: JsonValue[] = [];
    if (this.#openedEmpty("]")) return items;
    do items.push(this.value(depth + 1)); while (this.#another("]"));
    return items;
  }

  #object(depth: number): Map<string, JsonValue> {
    const members = new Map<string, JsonValue>();
    if (this.#openedEmpty("}")) return members;
    do {
      this.#skipSpaces();
      const key = this.#string();
      this.#expect(":");
      members.set(key, this.value(depth + 1));
    } while (this.#another("}"));
    return members;
  }

  #string(): string {
    const start = this.#at;
    if (this.#text.charAt(start) !== '"') throw this.#error("lacks a string");
    let end = start;
    let backslashes: number;
    do {
      end = this.#text.indexOf('"', end + 1);
      if (end < 0) throw this.#error("has a string without an end");
      backslashes = 0;
      while (this.#text.charAt(end - 1 - backslashes) === "\\") backslashes++;
    } while (backslashes % 2 === 1);
    this.#at = end + 1;
    return JSON.parse(this.#text.slice(start, end + 1));
  }

  #number(): JsonNumber {
    NUMBER.lastIndex = this.#at;
    const [all, whole, fraction, exponent] = NUMBER.exec(this.#text) ?? [];
    if (all === undefined || whole === undefined) throw this.#error("lacks a value");
    this.#at += all.length;
    if (all.length > MAX_DIGITS) {
      throw this.#error(`has a number of more than ${MAX_DIGITS} digits`);
    }
    if (fraction === undefined && exponent === undefined) {
      return new JsonNumber(String(BigInt(whole)), { isWhole: true });
    }
    const value = Number(all);
    const text = Number.isFinite(value)
      ? floatRepr(value)
      : all.startsWith("-")
      ? "-Infinity"
      : "Infinity";
    return new JsonNumber(text, { isWhole: false });
  }

  #openedEmpty(close: string): boolean {
    this.#at++;
    this.#skipSpaces();
    if (this.#text.charAt(this.#at) !== close) return false;
    this.#at++;
    return true;
  }

  #another(close: string): boolean {
    this.#skipSpaces();
    const found = this.#text.charAt(this.#at);
    if (found !== "," && found !== close) throw this.#error(`lacks ',' or '${close}'`);
    this.#at++;
    return found === ",";
  }

  #expect(character: string): void {
    this.#skipSpaces();
    if (this.#text.charAt(this.#at) !== character) throw this.#error(`lacks '${character}'`);
    this.#at++;
  }

  #skipSpaces(): void {
    SPACES.lastIndex = this.#at;
    this.#at += SPACES.exec(this.#text)?.[0].length ?? 0;
  }

  #error(what: string): SyntaxError {
    return new SyntaxError(`JSON ${what} at character ${this.#at + 1}`);
  }
}
