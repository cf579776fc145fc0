/**
 * Escapes in the texts of templates as Python reads them, for Hugging Face's package, which ends with
 * an error at those that it does not know: a backslash at a line's end, as in Mistral Small 3's
 * template, joins it with the next one, and one before another character stands for itself.
 *
 * @module
 */

/** What the package reads as Python does. */
const KNOWN = new Set("ntrbfv'\"\\xu");
const END: Readonly<Record<string, string>> = { "{{": "}}", "{%": "%}", "{#": "#}" };

/** The source with escapes that the package knows. */
export function withKnownEscapes(source: string): string {
  let text = "";
  let at = 0;
  while (at < source.length) {
    const begin = source.slice(at, at + 2);
    const end = END[begin];
    if (end === undefined) {
      text += source[at++];
      continue;
    }
    const stop = begin === "{#" ? behind(source, { end, at }) : tagEnd(source, { end, at: at + 2 });
    const tag = source.slice(at, stop);
    text += begin === "{#" ? tag : tag.replace(TEXT, (found) => found.replace(ESCAPE, known));
    at = stop;
  }
  return text;
}

/** A text in a tag. */
const TEXT = /"(?:[^"\\]|\\[^])*"|'(?:[^'\\]|\\[^])*'/g;
const ESCAPE = /\\(\r\n|[0-7]{1,3}|U[0-9a-fA-F]{8}|[^])/g;

function known(all: string, escaped: string): string {
  if (escaped === "\n" || escaped === "\r\n") return "";
  if (KNOWN.has(escaped)) return all;
  if (escaped === "a") return "\\x07";
  if (/^[0-7]+$/.test(escaped)) return unit(parseInt(escaped, 8));
  if (/^U.{8}$/.test(escaped)) {
    const code = parseInt(escaped.slice(1), 16);
    const halves = code <= 0x10ffff ? String.fromCodePoint(code).split("") : [];
    if (halves.length > 0) return halves.map((half) => unit(half.charCodeAt(0))).join("");
  }
  return `\\\\${escaped}`;
}

function unit(code: number): string {
  return `\\u${code.toString(16).padStart(4, "0")}`;
}

function behind(source: string, options: { end: string; at: number }): number {
  const found = source.indexOf(options.end, options.at);
  return found < 0 ? source.length : found + options.end.length;
}

/** Where a tag ends: not in its texts, and behind the braces that it opens itself. */
function tagEnd(source: string, options: { end: string; at: number }): number {
  const { end } = options;
  const textHere = new RegExp(TEXT.source, "y");
  let depth = 0;
  for (let { at } = options; at < source.length; at++) {
    if (depth === 0 && source.startsWith(end, at)) return at + end.length;
    const char = source[at];
    if (char === "{") depth++;
    else if (char === "}") depth--;
    else if (char === '"' || char === "'") {
      textHere.lastIndex = at;
      const [found] = textHere.exec(source) ?? [];
      if (found === undefined) return source.length;
      at += found.length - 1;
    }
  }
  return source.length;
}
