/**
 * Counts the tokens of texts that repeat much of each other, as the prompts of one RULER task do: a
 * text is cut where the tokenizer splits it anyway, and the counts of the pieces are kept.
 *
 * @module
 */
import { isJsonObject } from "../text_file.ts";
import type { Tokenizer } from "./tokenizer.ts";

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

/** Shorter sentences are counted together, as looking each up costs more than it saves. */
const MIN_SENTENCE_LENGTH = 32;
/** Pieces kept at most, of each kind. */
const MAX_SENTENCES = 2 ** 16;
const MAX_WORDS = 2 ** 18;

/**
 * A function that counts like `tokenizer.count()`, faster if its texts have pieces in common.
 *
 * @param tokenizer Counts the pieces; all of a text if it is not known where it may be cut.
 * @returns How many ids a text has. It keeps at most some hundred thousand counts.
 */
export function tokenCounter(
  tokenizer: Pick<Tokenizer, "count" | "settings">,
): (text: string) => number {
  const split = knownSplit(tokenizer.settings);
  if (split === undefined) return (text) => tokenizer.count(text);
  const counter = new PieceCounter(tokenizer, split);
  return (text) => counter.count(text);
}

/** How a tokenizer splits texts. */
interface Split {
  /** Its pattern. JavaScript's classes equal its own for ASCII only: `\s` differs at U+0085. */
  readonly pattern: RegExp;
  /** Finds the tokens that are recognized before the text is split; they hold no white space. */
  readonly addedTokens: RegExp | undefined;
}

/**
 * How a tokenizer splits texts, from its `tokenizer.json`.
 *
 * @returns `undefined` unless it is known that a text can be counted in pieces.
 */
function knownSplit(settings: Readonly<Record<string, unknown>>): Split | undefined {
  const { normalizer, truncation, padding, model, pre_tokenizer: pre, added_tokens: added = [] } =
    settings;
  // A limit on the length or chance would make the sum of the pieces another number.
  if (
    [normalizer, truncation, padding].some((setting) => setting !== null && setting !== undefined)
  ) {
    return undefined;
  }
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

/** Cuts a text into sentences, these into words, and these as the tokenizer does. */
class PieceCounter {
  readonly #tokenizer: Pick<Tokenizer, "count">;
  readonly #split: Split;
  readonly #sentences = new Map<string, number>();
  readonly #words = new Map<string, number>();

  constructor(tokenizer: Pick<Tokenizer, "count">, split: Split) {
    this.#tokenizer = tokenizer;
    this.#split = split;
  }

  /** Cuts behind lines, and behind periods that end a sentence of some length. */
  count(text: string): number {
    let total = 0;
    let start = 0;
    let line = lineEnd(text, 0);
    let period = sentenceEnd(text, MIN_SENTENCE_LENGTH);
    for (;;) {
      const end = Math.min(line, period);
      if (end === Infinity) return total + this.#sentence(text.slice(start));
      total += this.#sentence(text.slice(start, end));
      start = end;
      if (line === end) line = lineEnd(text, end);
      const shortest = start + MIN_SENTENCE_LENGTH;
      if (period < shortest) period = sentenceEnd(text, shortest);
    }
  }

  #sentence(text: string): number {
    const known = this.#sentences.get(text);
    if (known !== undefined) return known;
    let total = 0;
    let start = 0;
    let before = 0;
    for (let i = 0; i < text.length; i++) {
      const code = text.charCodeAt(i);
      if (code === 0x20 && isVisible(before)) {
        total += this.#word(text.slice(start, i));
        start = i;
      }
      before = code;
    }
    total += this.#word(text.slice(start));
    keep(this.#sentences, text, { count: total, limit: MAX_SENTENCES });
    return total;
  }

  #word(text: string): number {
    const known = this.#words.get(text);
    if (known !== undefined) return known;
    const count = this.#isPlain(text) ? this.#parts(text) : this.#tokenizer.count(text);
    keep(this.#words, text, { count, limit: MAX_WORDS });
    return count;
  }

  /** Whether the pattern alone says how the tokenizer splits a piece. */
  #isPlain(text: string): boolean {
    for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) > 0x7f) return false;
    return this.#split.addedTokens?.test(text) !== true;
  }

  /** Each match of the pattern is a match by itself, too, and is never joined with another. */
  #parts(text: string): number {
    const parts = text.match(this.#split.pattern) ?? [];
    if (parts.length === 1) return this.#tokenizer.count(text);
    let total = 0;
    for (const part of parts) {
      let count = this.#words.get(part);
      if (count === undefined) {
        count = this.#tokenizer.count(part);
        keep(this.#words, part, { count, limit: MAX_WORDS });
      }
      total += count;
    }
    return total;
  }
}

function keep(
  counts: Map<string, number>,
  piece: string,
  options: { count: number; limit: number },
): void {
  if (counts.size >= options.limit) counts.clear();
  // A slice would keep the whole text alive that it was cut from: this is a copy.
  counts.set((" " + piece).slice(1), options.count);
}

function isVisible(code: number): boolean {
  return code > 0x20 && code < 0x7f;
}

/** The first cut behind a line feed and after `from`; infinite if there is none. */
function lineEnd(text: string, from: number): number {
  let end = from;
  do {
    end = text.indexOf("\n", end) + 1;
    if (end === 0) return Infinity;
  } while (!isVisible(text.charCodeAt(end)));
  return end;
}

/** The first cut between a period and a space, at `from` or later; infinite if there is none. */
function sentenceEnd(text: string, from: number): number {
  const period = text.indexOf(". ", from - 1);
  return period < 0 ? Infinity : period + 1;
}
