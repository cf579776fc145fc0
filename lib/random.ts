/**
 * Random numbers from a seed, the same in every run and version, for weights and selections of
 * benchmarks and for standard errors.
 *
 * @module
 */

/**
 * Uniform numbers in [0, 1) by Marsaglia's 32-bit xorshift over a Weyl sequence.
 *
 * Of neighbouring seeds the first two numbers are nearly equal: streams beside each other want seeds
 * that are hashes. A better beginning would change what is kept: the standard errors in files of
 * results, and the models and references that were made of these numbers.
 */
export function uniformNumbers(seed: number): () => number {
  let state = (seed ^ 0x9e3779b9) >>> 0 || 1;
  let weyl = 0;
  return () => {
    state = (state ^ (state << 13)) >>> 0;
    state = (state ^ (state >>> 17)) >>> 0;
    state = (state ^ (state << 5)) >>> 0;
    weyl = (weyl + 362437) >>> 0;
    return ((state + weyl) >>> 0) / 2 ** 32;
  };
}

/** A number of mean 0 and variance 1, by Box and Muller's transform. */
export function normalNumber(random: () => number): number {
  const radius = Math.sqrt(-2 * Math.log(1 - random()));
  return radius * Math.cos(2 * Math.PI * random());
}
