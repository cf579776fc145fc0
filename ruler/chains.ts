/**
 * The variables of variable tracking: their names, their values, and the chains of assignments, as
 * all versions of RULER's generator draw them.
 *
 * @module
 */
import { LegacyRandom } from "./python/numpy.ts";
import { PythonRandom } from "./python/random.ts";

const LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";

/** How chains are drawn. */
export interface ChainSettings {
  readonly chains: number;
  readonly hops: number;
  /** The worked example has short names, and no more than ten hops. */
  readonly isExample: boolean;
  /** What the first variable of each chain is set to; by default a number is drawn. */
  readonly value?: string | undefined;
}

/** Draws variables. */
export class Variables {
  /** What names and places are drawn by. */
  readonly random: PythonRandom;
  readonly #values: LegacyRandom;

  constructor(seed: number) {
    this.random = new PythonRandom(seed);
    this.#values = new LegacyRandom(seed);
  }

  /** A name of some letters. */
  name(letters: number): string {
    return this.random.choices(LETTERS, letters).join("");
  }

  /** What a variable is set to. */
  value(): number {
    return this.#values.randint({ low: 10000, high: 99999 });
  }

  /**
   * The names of the first chain, and the links of all; undefined where names repeat, where the
   * originals raise IndexError.
   */
  drawChains(
    settings: ChainSettings,
  ): { names: readonly string[]; chains: string[][] } | undefined {
    const { isExample, value } = settings;
    const hops = isExample ? Math.min(10, settings.hops) : settings.hops;
    const letters = isExample ? 3 : 5;
    const wanted = (hops + 1) * settings.chains;
    const names = Array.from({ length: wanted }, () => this.name(letters));
    while (new Set(names).size < wanted) names.push(this.name(letters));
    const chains: string[][] = [];
    for (let start = 0; start < names.length; start += hops + 1) {
      const own = names.slice(start, start + hops + 1);
      const first = value ?? this.value();
      // Names beyond a whole chain are there because some repeat.
      if (own.length < hops + 1) return undefined;
      const links = own.slice(1).map((name, i) => `VAR ${name} = VAR ${own[i]} `);
      chains.push([`VAR ${own[0]} = ${first}`, ...links]);
    }
    return { names: names.slice(0, hops + 1), chains };
  }

  /** Puts the links of each chain among sentences, in their order. */
  hide(chains: readonly (readonly string[])[], sentences: string[]): void {
    for (const chain of chains) {
      const places = this.random.sampleIndices(sentences.length, chain.length)
        .sort((a, b) => a - b);
      for (const [i, place] of places.entries()) sentences.splice(place + i, 0, chain[i] ?? "");
    }
  }
}
