/**
 * Python's `str.strip()` and its centred padding (`format(text, "^width")`), by Unicode's rules.
 *
 * @module
 */

/**
 * What `str.isspace()` accepts. Unlike JavaScript's, it holds the separators U+001C to U+001F and
 * U+0085, and not the byte order mark.
 */
export const SPACE =
  "[\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000]";

const FIRST_SPACE = new RegExp(`^${SPACE}+`);
const ANY_SPACE = new RegExp(SPACE);

/**
 * A text without the white space at its ends.
 *
 * @param text Any text.
 * @returns What `text.strip()` is in Python.
 */
export function strip(text: string): string {
  let end = text.length;
  // A regular expression that ends in `$` would try every run of spaces inside a long text.
  while (end > 0 && ANY_SPACE.test(text.charAt(end - 1))) end--;
  return text.slice(0, end).replace(FIRST_SPACE, "");
}

/**
 * A text in the middle of a field; an odd space goes to its right.
 *
 * @param text Any text.
 * @param width The field's width in code points; a longer text is returned as it is.
 */
export function center(text: string, width: number): string {
  const spare = Math.max(0, width - codePointCount(text));
  const left = Math.floor(spare / 2);
  return " ".repeat(left) + text + " ".repeat(spare - left);
}

/** How many code points a text has: Python's `len`. */
export function codePointCount(text: string): number {
  let count = 0;
  for (const _ of text) count++;
  return count;
}

/**
 * A list of texts as `repr` prints it.
 *
 * @param items Texts; `null` is printed as `None`.
 */
export function listRepr(items: readonly (string | null)[]): string {
  return `[${items.map((item) => item === null ? "None" : textRepr(item)).join(", ")}]`;
}

function textRepr(text: string): string {
  const quote = text.includes("'") && !text.includes('"') ? '"' : "'";
  const escaped = text.replace(/[\\'\p{C}\p{Z}]/gu, (character) => {
    if (character === " ") return character;
    if (character === "'") return quote === "'" ? "\\'" : character;
    const named = { "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t" }[character];
    if (named !== undefined) return named;
    const hex = (character.codePointAt(0) ?? 0).toString(16);
    if (hex.length <= 2) return `\\x${hex.padStart(2, "0")}`;
    return hex.length <= 4 ? `\\u${hex.padStart(4, "0")}` : `\\U${hex.padStart(8, "0")}`;
  });
  return quote + escaped + quote;
}
