/**
 * Random numbers that are the same in every run: a test prints its seed and can be repeated.
 *
 * @module
 */

import { elementsToFloats, floatsToElements } from "../../lib/device/elements.ts";

/** A seeded generator (Mulberry32: 32 bits of state, a full period of 2^32). */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** An integer of 0 to 2^32 - 1. */
  word(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let word = this.#state;
    word = Math.imul(word ^ (word >>> 15), word | 1);
    word ^= word + Math.imul(word ^ (word >>> 7), word | 61);
    return (word ^ (word >>> 14)) >>> 0;
  }

  /** A number of [0, 1). */
  unit(): number {
    return this.word() / 2 ** 32;
  }

  /** An integer of [0, limit). */
  below(limit: number): number {
    return Math.floor(this.unit() * limit);
  }

  /** Numbers of mean 0 and variance `scale`^2, nearly normal: sums of four uniform ones. */
  floats(count: number, scale: number): Float32Array<ArrayBuffer> {
    // Each of the four has variance 1/12.
    const factor = scale * Math.sqrt(3);
    const out = new Float32Array(count);
    for (let i = 0; i < count; i++) {
      out[i] = factor * (this.unit() + this.unit() + this.unit() + this.unit() - 2);
    }
    return out;
  }

  /** The numbers below `count` in another order (Fisher and Yates). */
  shuffled(count: number): number[] {
    const order = Array.from({ length: count }, (_, i) => i);
    for (let i = count - 1; i > 0; i--) {
      const j = this.below(i + 1);
      [order[i], order[j]] = [order[j] ?? 0, order[i] ?? 0];
    }
    return order;
  }

  /** Integers of [low, high). */
  ints(count: number, range: { low: number; high: number }): Int32Array<ArrayBuffer> {
    const { low, high } = range;
    const out = new Int32Array(count);
    for (let i = 0; i < count; i++) out[i] = low + this.below(high - low);
    return out;
  }
}

/** The nearest bf16 numbers. */
export function roundToBf16(values: Float32Array<ArrayBuffer>): Float32Array<ArrayBuffer> {
  return elementsToFloats(new Uint8Array(floatsToElements(values, "bf16")), "bf16");
}

/** A seed from a text, so that every case of a test has another one (FNV-1a). */
export function seedOf(text: string): number {
  let hash = 0x811c9dc5;
  for (const character of text) {
    hash = Math.imul(hash ^ (character.codePointAt(0) ?? 0), 0x01000193) >>> 0;
  }
  return hash;
}
