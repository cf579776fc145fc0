/**
 * Choices by chance that a seed repeats.
 *
 * @module
 */
import { uniformNumbers } from "../../lib/random.ts";

/** A sequence of choices; the same for the same seed. */
export class Dice {
  readonly #next: () => number;

  /** @param seed Any text: what a trial is called. */
  constructor(seed: string) {
    // FNV-1a.
    let hash = 0x811c9dc5;
    for (const character of seed) {
      hash = Math.imul(hash ^ (character.codePointAt(0) ?? 0), 0x01000193) >>> 0;
    }
    this.#next = uniformNumbers(hash);
    // The first numbers of seeds that are alike are alike.
    for (let i = 0; i < 8; i++) this.#next();
  }

  /** A number of [0, 1). */
  unit(): number {
    return this.#next();
  }

  /** A whole number of [0, limit). */
  below(limit: number): number {
    return Math.floor(this.#next() * limit);
  }

  /** One of some things. */
  pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)] as T;
  }

  /** Whether something happens that does so with this probability. */
  chance(probability: number): boolean {
    return this.#next() < probability;
  }
}
