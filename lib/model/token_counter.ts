/**
 * Counts the tokens of texts that repeat much of each other, as the prompts of one RULER task do: a
 * text is cut where the tokenizer splits it anyway, and the counts of the pieces are kept.
 *
 * @module
 */
import { isVisible, knownSplit, lineEnd, type Split } from "./text_cuts.ts";
import type { Tokenizer } from "./tokenizer.ts";

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

/** The first cut between a period and a space, at `from` or later; infinite if there is none. */
function sentenceEnd(text: string, from: number): number {
  const period = text.indexOf(". ", from - 1);
  return period < 0 ? Infinity : period + 1;
}
