/**
 * Python's text functions that show in the generated data: order of texts, `split()`, named fields.
 *
 * @module
 */
import { SPACE, strip } from "./text.ts";

const SPACES = new RegExp(`${SPACE}+`);

/** The words of a text: `text.split()`. */
export function splitWords(text: string): string[] {
  const trimmed = strip(text);
  return trimmed === "" ? [] : trimmed.split(SPACES);
}

/** What `--remove_newline_tab` makes of a text: words with one space between them. */
export function removeNewlines(text: string): string {
  return splitWords(text).join(" ");
}

/** The lines of a file, white space at their ends removed. */
export function strippedLines(text: string): string[] {
  const lines = text.split(/\r\n|\n|\r/);
  if (lines.at(-1) === "") lines.pop();
  return lines.map((line) => line.replace(TRAILING_SPACES, ""));
}

const TRAILING_SPACES = new RegExp(`${SPACE}+$`);

/** Compares texts by code points, as Python does; JavaScript compares UTF-16 units. */
export function compareCodePoints(a: string, b: string): number {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) {
    const [left, right] = [a.charCodeAt(i), b.charCodeAt(i)];
    if (left === right) continue;
    // A surrogate stands for a code point above all that fit one unit.
    if (isSurrogate(left) !== isSurrogate(right)) return isSurrogate(left) ? 1 : -1;
    return left - right;
  }
  return a.length - b.length;
}

function isSurrogate(unit: number): boolean {
  return unit >= 0xd800 && unit <= 0xdfff;
}

/** `sorted(set(texts))`. */
export function sortedSet(texts: Iterable<string>): string[] {
  return [...new Set(texts)].sort(compareCodePoints);
}

/** `template.format(**fields)` for templates whose braces are fields without a format. */
export function formatFields(
  template: string,
  fields: Readonly<Record<string, string | number>>,
): string {
  return template.replace(/\{(\w+)\}/g, (field, name: string) => {
    const value = fields[name];
    if (value === undefined) throw new TypeError(`Cannot format as field ${field} has no value`);
    return String(value);
  });
}

/** `(items * n)[:count]` with as many copies as are needed. @param items At least one. */
export function repeated<T>(items: readonly T[], count: number): T[] {
  return Array.from({ length: Math.max(0, count) }, (_, i) => items[i % items.length] as T);
}
