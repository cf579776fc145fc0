/**
 * Which 128 x 128 tiles were selected, kept for somebody who wants to look at them.
 *
 * @module
 */
import type { SelectedTiles } from "./xattention.ts";

/** Some rows of the attention matrix of a local sequence, in one layer. */
export interface TileMask {
  /** The context block, from 0 on. */
  readonly block: number;
  /** The layer, from 0 on. */
  readonly layer: number;
  /** Query heads. */
  readonly heads: number;
  /** The block's first row of tiles here, from 0 on. */
  readonly firstRow: number;
  /** Rows of tiles. */
  readonly rows: number;
  /**
   * Key tiles of a row: first those of the anchor, in blocks that have one in front, then those of
   * the block itself.
   */
  readonly width: number;
  /** Base64 of [heads, rows, width] bits, the first in the lowest bit of the first byte. */
  readonly bits: string;
}

/** Beyond so many bits nothing is kept: a picture could not show them. */
const MAX_BITS = 1 << 25;

/** Collects the masks of one context on one rank. */
export class TileMasks {
  readonly #masks: TileMask[] = [];
  #bits = 0;

  /** What was collected; empty if it was too much. */
  get all(): readonly TileMask[] {
    return this.#bits > MAX_BITS ? [] : this.#masks;
  }

  /** Keeps what a chunk of a block selected. @param place Where its first row of tiles lies. */
  async add(tiles: SelectedTiles, place: { block: number; firstRow: number }): Promise<void> {
    const [heads = 0, rows = 0, width = 0] = tiles.indices.shape;
    this.#bits += heads * rows * width;
    if (this.#bits > MAX_BITS) return;
    const counts = await tiles.counts.toInts();
    const indices = await tiles.indices.toInts();
    const bytes = new Uint8Array(Math.ceil(heads * rows * width / 8));
    for (let row = 0; row < heads * rows; row++) {
      for (let i = 0; i < (counts[row] ?? 0); i++) {
        const bit = row * width + (indices[row * width + i] ?? 0);
        bytes[bit >> 3] = (bytes[bit >> 3] ?? 0) | 1 << (bit & 7);
      }
    }
    this.#masks.push({ ...place, layer: tiles.layer, heads, rows, width, bits: bytes.toBase64() });
  }
}

/** The bits of a mask, one byte each: [heads, rows, width]. */
export function maskBits({ heads, rows, width, bits }: TileMask): Uint8Array<ArrayBuffer> {
  const bytes = Uint8Array.fromBase64(bits);
  return Uint8Array.from(
    { length: heads * rows * width },
    (_, bit) => (bytes[bit >> 3] ?? 0) >> (bit & 7) & 1,
  );
}
