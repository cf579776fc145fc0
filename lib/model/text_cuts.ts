/**
 * Where a text can be cut so that its pieces, tokenized one by one, give the ids of the whole.
 *
 * @module
 */
import { isJsonObject } from "../text_file.ts";

/**
 * The patterns of Llama 3 and of Qwen 2, by which their tokenizers split a text before all else.
 * Two cuts never change their matches, as no alternative takes both characters beside them, and the
 * one look-ahead, `\s+(?!\S)`, sees the same on both sides:
 *
 *  - before a space that follows a visible character (white space starts a match, or is its rest);
 *  - before a visible character that follows a line feed (`\s*[\r\n]+` comes before `\s+(?!\S)`, so
 *    the line feed ends its match, and letters take no line feed in front).
 */
const KNOWN_PATTERNS: ReadonlySet<string> = new Set(
  ["\\p{N}{1,3}", "\\p{N}"].map((digits) =>
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|" + digits +
    "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
  ),
);

/** How a tokenizer splits texts. */
export interface Split {
  /** Its pattern. JavaScript's classes equal its own for ASCII only: `\s` differs at U+0085. */
  readonly pattern: RegExp;
  /** Finds the tokens that are recognized before the text is split; they hold no white space. */
  readonly addedTokens: RegExp | undefined;
}

/**
 * How a tokenizer splits texts, from its `tokenizer.json`.
 *
 * @returns `undefined` unless it is known that a text can be tokenized in pieces.
 */
export function knownSplit(settings: Readonly<Record<string, unknown>>): Split | undefined {
  const { normalizer, truncation, padding, model, pre_tokenizer: pre, added_tokens: added = [] } =
    settings;
  // A limit on the length or chance would make the sum of the pieces another number.
  if ([truncation, padding].some((setting) => setting !== null && setting !== undefined)) {
    return undefined;
  }
  if (!isHarmless(normalizer)) return undefined;
  if (!isJsonObject(model) || (model.dropout !== null && model.dropout !== undefined)) {
    return undefined;
  }
  const pattern = knownPattern(pre);
  if (pattern === undefined || !Array.isArray(added)) return undefined;
  const contents: string[] = [];
  for (const token of added) {
    if (!isJsonObject(token) || typeof token.content !== "string") return undefined;
    if (token.lstrip === true || token.rstrip === true || token.single_word === true) {
      return undefined;
    }
    if (token.content === "" || /[\s\x85]/u.test(token.content)) return undefined;
    contents.push(token.content.replace(/[\\^$.*+?()[\]{}|/-]/gu, "\\$&"));
  }
  return {
    pattern: new RegExp(pattern, "gu"),
    addedTokens: contents.length === 0 ? undefined : new RegExp(contents.join("|"), "u"),
  };
}

/** NFC leaves ASCII as it is and composes nothing with a space: the cuts' two sides stay apart. */
function isHarmless(normalizer: unknown): boolean {
  if (normalizer === null || normalizer === undefined) return true;
  return isJsonObject(normalizer) && normalizer.type === "NFC";
}

/** The pattern of a known pre-tokenizer: a split by it, then bytes as characters. */
function knownPattern(preTokenizer: unknown): string | undefined {
  if (!isJsonObject(preTokenizer) || preTokenizer.type !== "Sequence") return undefined;
  const { pretokenizers: steps } = preTokenizer;
  if (!Array.isArray(steps) || steps.length !== 2) return undefined;
  const [split, bytes] = steps as unknown[];
  if (!isJsonObject(split) || !isJsonObject(bytes)) return undefined;
  if (bytes.type !== "ByteLevel" || bytes.use_regex !== false || bytes.add_prefix_space !== false) {
    return undefined;
  }
  if (split.type !== "Split" || split.behavior !== "Isolated" || split.invert !== false) {
    return undefined;
  }
  const { pattern } = split;
  if (!isJsonObject(pattern) || typeof pattern.Regex !== "string") return undefined;
  return KNOWN_PATTERNS.has(pattern.Regex) ? pattern.Regex : undefined;
}

/** Whether a UTF-16 code unit is a visible ASCII character. */
export function isVisible(code: number): boolean {
  return code > 0x20 && code < 0x7f;
}

/** The first cut behind a line feed and after `from`; infinite if there is none. */
export function lineEnd(text: string, from: number): number {
  let end = from;
  do {
    end = text.indexOf("\n", end) + 1;
    if (end === 0) return Infinity;
  } while (!isVisible(text.charCodeAt(end)));
  return end;
}

/** The last cut at or before `end` and after `start`; undefined if there is none. */
export function lastCut(text: string, range: { start: number; end: number }): number | undefined {
  for (let at = range.end; at > range.start; at--) {
    const before = text.charCodeAt(at - 1);
    const code = text.charCodeAt(at);
    if (code === 0x20 ? isVisible(before) : before === 0x0a && isVisible(code)) return at;
  }
  return undefined;
}
