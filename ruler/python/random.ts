/**
 * Python's `random.Random` (CPython 3.11, `Lib/random.py` and `Modules/_randommodule.c`): the same
 * numbers for the same seed, call by call.
 *
 * @module
 */
import { MersenneTwister } from "./mersenne.ts";

const TWO_32 = 2 ** 32;

/** A generator with a seed. */
export class PythonRandom {
  readonly #twister: MersenneTwister;

  /** @param seed A whole number; its sign is ignored, as in Python. */
  constructor(seed: number) {
    const words: number[] = [];
    for (let rest = Math.abs(seed); rest > 0; rest = Math.floor(rest / TWO_32)) {
      words.push(rest % TWO_32);
    }
    this.#twister = MersenneTwister.fromWords(words.length === 0 ? [0] : words);
  }

  /** A number of [0, 1) with 53 random bits. */
  random(): number {
    return this.#twister.nextFraction();
  }

  /** A number of `bits` random bits. @param bits At least 0. */
  getrandbits(bits: number): bigint {
    let value = 0n;
    for (let shift = 0; shift < bits; shift += 32) {
      const left = bits - shift;
      const word = left < 32 ? this.#twister.next() >>> (32 - left) : this.#twister.next();
      value |= BigInt(word) << BigInt(shift);
    }
    return value;
  }

  /**
   * A whole number of [low, high].
   *
   * @throws {RangeError} If there is none.
   */
  randint(low: number, high: number): number {
    return low + this.#below(high - low + 1);
  }

  /** The index of a random item of `count`. @throws {RangeError} If there is none. */
  choiceIndex(count: number): number {
    return this.#below(count);
  }

  /** A random item. @throws {RangeError} If there is none. */
  choice<T>(items: ArrayLike<T>): T {
    return items[this.#below(items.length)] as T;
  }

  /** `count` random items, repeats allowed; a text's items are its characters. */
  choices<T>(items: ArrayLike<T>, count: number): T[] {
    return Array.from(
      { length: count },
      () => items[Math.floor(this.random() * items.length)] as T,
    );
  }

  /**
   * The indices of `count` different items out of `population`.
   *
   * @throws {RangeError} If there are not so many; nothing is drawn then.
   */
  sampleIndices(population: number, count: number): number[] {
    if (count < 0 || count > population) {
      throw new RangeError(
        `Cannot sample as 'count' must be 0 to ${population}: current value is ${count}`,
      );
    }
    let setSize = 21;
    if (count > 5) setSize += 4 ** Math.ceil(Math.log(count * 3) / Math.log(4));
    if (population > setSize) return this.#sampleBySet(population, count);
    const pool = Array.from({ length: population }, (_, i) => i);
    return Array.from({ length: count }, (_, i) => {
      const j = this.#below(population - i);
      const chosen = pool[j] ?? 0;
      pool[j] = pool[population - i - 1] ?? 0;
      return chosen;
    });
  }

  /** `count` different items. @throws {RangeError} As `sampleIndices()`. */
  sample<T>(items: readonly T[], count: number): T[] {
    return this.sampleIndices(items.length, count).map((i) => items[i] as T);
  }

  /** Brings items into a random order, in place. */
  shuffle(items: { length: number; [index: number]: unknown }): void {
    for (let i = items.length - 1; i >= 1; i--) {
      const j = this.#below(i + 1);
      [items[i], items[j]] = [items[j], items[i]];
    }
  }

  #sampleBySet(population: number, count: number): number[] {
    const chosen = new Set<number>();
    while (chosen.size < count) {
      let j = this.#below(population);
      while (chosen.has(j)) j = this.#below(population);
      chosen.add(j);
    }
    return [...chosen];
  }

  /** A whole number of [0, count). */
  #below(count: number): number {
    if (!(count >= 1 && count <= Number.MAX_SAFE_INTEGER)) {
      throw new RangeError(`Cannot choose as there must be something to choose from: ${count}`);
    }
    const bits = bitLength(count);
    let value = this.#bits(bits);
    while (value >= count) value = this.#bits(bits);
    return value;
  }

  /** As `getrandbits()`, for at most 53 bits. */
  #bits(bits: number): number {
    if (bits <= 32) return this.#twister.next() >>> (32 - bits);
    const low = this.#twister.next();
    return (this.#twister.next() >>> (64 - bits)) * TWO_32 + low;
  }
}

/** How many binary digits a number above 0 has. */
function bitLength(value: number): number {
  return value < TWO_32 ? 32 - Math.clz32(value) : 64 - Math.clz32(Math.floor(value / TWO_32));
}

/** `str(uuid.UUID(int=random.getrandbits(128), version=4))`. */
export function randomUuid(random: PythonRandom): string {
  let bits = random.getrandbits(128);
  bits = bits & ~(0xc000n << 48n) | (0x8000n << 48n);
  bits = bits & ~(0xf000n << 64n) | (4n << 76n);
  const hex = bits.toString(16).padStart(32, "0");
  const cuts = [0, 8, 12, 16, 20, 32];
  return cuts.slice(1).map((end, i) => hex.slice(cuts[i], end)).join("-");
}

/**
 * Shuffles as `random.Random(seed).shuffle(items)` does. The same length always gives the same
 * permutation, so each is worked out once.
 */
export class FreshShuffle {
  readonly #seed: number;
  readonly #orders = new Map<number, Uint32Array>();

  constructor(seed: number) {
    this.#seed = seed;
  }

  /** A shuffled copy. */
  shuffled<T>(items: readonly T[]): T[] {
    const order = this.#order(items.length);
    return Array.from(order, (i) => items[i] as T);
  }

  #order(length: number): Uint32Array {
    let order = this.#orders.get(length);
    if (order === undefined) {
      order = Uint32Array.from({ length }, (_, i) => i);
      new PythonRandom(this.#seed).shuffle(order);
      // Retries pass through many lengths; only the last ones come back.
      if (this.#orders.size >= 64) this.#orders.clear();
      this.#orders.set(length, order);
    }
    return order;
  }
}
