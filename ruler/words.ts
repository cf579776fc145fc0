/**
 * The words of needles' keys: every adjective with every noun, sorted, found by index.
 *
 * The original builds and sorts a list of some six million texts; here the list exists only as
 * blocks of one adjective each, since `adjective-` orders whatever follows it.
 *
 * @module
 */
import { compareCodePoints, sortedSet } from "./python/strings.ts";
import type { WordLists } from "./model.ts";

/** A run of the sorted list. */
interface Block {
  /** Index of its first word. */
  readonly start: number;
  /** What stands in front of each of its words. */
  readonly prefix: string;
  readonly words: readonly string[];
}

/** `sorted(set(f"{adjective}-{noun}"))` without the list. */
export class CompoundWords {
  /** How many words there are. */
  readonly length: number;
  readonly #blocks: readonly Block[];

  constructor(lists: Pick<WordLists, "adjectives" | "nouns">) {
    const nouns = sortedSet(lists.nouns);
    const prefixes = [...new Set(lists.adjectives)].map((adjective) => `${adjective}-`)
      .sort(compareCodePoints);
    const blocks: Block[] = [];
    let start = 0;
    for (let i = 0; i < prefixes.length;) {
      const root = prefixes[i] ?? "";
      let end = i + 1;
      while (prefixes[end]?.startsWith(root)) end++;
      // Where one prefix begins another, as `back-` does `back-up-`, their words interleave.
      const family = prefixes.slice(i, end);
      const block = family.length === 1
        ? { start, prefix: root, words: nouns }
        : { start, prefix: "", words: sortedSet(family.flatMap((p) => nouns.map((n) => p + n))) };
      blocks.push(block);
      start += block.words.length;
      i = end;
    }
    this.#blocks = blocks;
    this.length = start;
  }

  /** The word at an index. @throws {RangeError} If there is none. */
  at(index: number): string {
    let [low, high] = [0, this.#blocks.length - 1];
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if ((this.#blocks[middle]?.start ?? 0) <= index) low = middle;
      else high = middle - 1;
    }
    const block = this.#blocks[low];
    const word = block?.words[index - block.start];
    if (block === undefined || word === undefined) {
      throw new RangeError(
        `Cannot find a word as the index must be below ${this.length}: current value is ${index}`,
      );
    }
    return block.prefix + word;
  }
}
