/**
 * The Mersenne Twister MT19937 (Matsumoto and Nishimura 1998), as Python and NumPy seed it.
 *
 * @module
 */

const SIZE = 624;
const SHIFT = 397;

/** A stream of 32-bit words. */
export class MersenneTwister {
  readonly #state = new Uint32Array(SIZE);
  #next = SIZE;

  private constructor() {}

  /** Seeds with one word (`init_genrand`), as `numpy.random.seed(seed)` does. */
  static fromWord(seed: number): MersenneTwister {
    const twister = new MersenneTwister();
    twister.#seedWord(seed);
    return twister;
  }

  /** Seeds with words (`init_by_array`), as `random.seed(seed)` does. @param key At least one. */
  static fromWords(key: readonly number[]): MersenneTwister {
    const twister = new MersenneTwister();
    twister.#seedWords(key);
    return twister;
  }

  /** The next word, 0 to 2^32 - 1. */
  next(): number {
    if (this.#next === SIZE) this.#refill();
    let word = this.#state[this.#next++] ?? 0;
    word ^= word >>> 11;
    word ^= (word << 7) & 0x9d2c5680;
    word ^= (word << 15) & 0xefc60000;
    return (word ^ (word >>> 18)) >>> 0;
  }

  /** A number of [0, 1) with 53 random bits, out of two words. */
  nextFraction(): number {
    const high = this.next() >>> 5;
    const low = this.next() >>> 6;
    return (high * 67108864 + low) / 9007199254740992;
  }

  #seedWord(seed: number): void {
    const state = this.#state;
    let last = seed >>> 0;
    state[0] = last;
    for (let i = 1; i < SIZE; i++) {
      last = (Math.imul(last ^ (last >>> 30), 1812433253) + i) >>> 0;
      state[i] = last;
    }
    this.#next = SIZE;
  }

  #seedWords(key: readonly number[]): void {
    this.#seedWord(19650218);
    const state = this.#state;
    let [i, j] = [1, 0];
    const mix = (factor: number, added: number): void => {
      const before = state[i - 1] ?? 0;
      state[i] = ((state[i] ?? 0) ^ Math.imul(before ^ (before >>> 30), factor)) + added;
      if (++i < SIZE) return;
      state[0] = state[SIZE - 1] ?? 0;
      i = 1;
    };
    for (let k = Math.max(SIZE, key.length); k > 0; k--) {
      mix(1664525, (key[j] ?? 0) + j);
      j = (j + 1) % key.length;
    }
    for (let k = SIZE - 1; k > 0; k--) mix(1566083941, -i);
    state[0] = 0x80000000;
  }

  #refill(): void {
    const state = this.#state;
    for (let i = 0; i < SIZE; i++) {
      const mixed = ((state[i] ?? 0) & 0x80000000) | ((state[(i + 1) % SIZE] ?? 0) & 0x7fffffff);
      const twist = (mixed & 1) === 0 ? 0 : 0x9908b0df;
      state[i] = (state[(i + SHIFT) % SIZE] ?? 0) ^ (mixed >>> 1) ^ twist;
    }
    this.#next = 0;
  }
}
