/**
 * A selection of blocks with a given share, for benchmarks: random weights give no natural sparsity.
 *
 * @module
 */
import type { Device } from "../device/device.ts";
import { Tensor } from "../device/tensor.ts";
import { invariant } from "../errors.ts";
import { uniformNumbers } from "../random.ts";

/** Rows of blocks of one call: query blocks `firstBlock` to `firstBlock + queryBlocks`. */
export interface BlockRows {
  readonly heads: number;
  readonly firstBlock: number;
  readonly queryBlocks: number;
}

/** Chosen blocks as `attentionBlockSparse()` takes them. */
export interface ForcedBlocks {
  /** [heads, queryBlocks] i32. */
  readonly counts: Tensor;
  /** [heads, queryBlocks, firstBlock + queryBlocks] i32. */
  readonly indices: Tensor;
}

/**
 * Blocks drawn uniformly per head and row, besides block 0 and the diagonal one, which are always
 * taken. Drawn once per place in the sequence and kept, so that drawing costs no timed run anything.
 */
export class ForcedSelection implements Disposable {
  readonly #devices: readonly Device[];
  readonly #density: number;
  readonly #random = uniformNumbers(1);
  readonly #drawn = new Map<string, ReadonlyMap<Device, ForcedBlocks>>();

  /**
   * @param devices Where the layers lie: all take the same blocks.
   * @param density Share of the causal blocks, above 0 and at most 1.
   * @throws {RangeError} If it is out of its range.
   */
  constructor(devices: readonly Device[], density: number) {
    if (!(density > 0 && density <= 1)) {
      throw new RangeError(
        `Cannot force a selection as 'density' must be above 0 and at most 1: current value is ${density}`,
      );
    }
    this.#devices = devices;
    this.#density = density;
  }

  /** The blocks of some rows on one of the devices; they belong to this object. */
  async blocks(rows: BlockRows, device: Device): Promise<ForcedBlocks> {
    const key = `${rows.heads} ${rows.firstBlock} ${rows.queryBlocks}`;
    const known = this.#drawn.get(key) ?? await this.#drawRows(rows);
    this.#drawn.set(key, known);
    const blocks = known.get(device);
    invariant(blocks !== undefined, "blocks are drawn for all devices");
    return blocks;
  }

  async #drawRows(rows: BlockRows): Promise<ReadonlyMap<Device, ForcedBlocks>> {
    const { heads, firstBlock, queryBlocks } = rows;
    const keyBlocks = firstBlock + queryBlocks;
    const counts = new Int32Array(heads * queryBlocks);
    const indices = new Int32Array(heads * queryBlocks * keyBlocks);
    let carry = 0;
    for (let row = 0; row < counts.length; row++) {
      const causal = firstBlock + row % queryBlocks + 1;
      // What rounding leaves is carried on, so that the share holds over all rows.
      const wanted = this.#density * causal + carry;
      const count = Math.min(causal, Math.max(Math.min(2, causal), Math.round(wanted)));
      carry = Math.max(-causal, Math.min(causal, wanted - count));
      counts[row] = count;
      this.#draw(indices.subarray(row * keyBlocks), { causal, count });
    }
    const shape = [heads, queryBlocks];
    const drawn = new Map<Device, ForcedBlocks>();
    for (const device of this.#devices) {
      const make = (label: string, shape: readonly number[]) =>
        Tensor.allocate(device, { dtype: "i32", shape, label });
      const blocks = {
        counts: make("forced counts", shape),
        indices: make("forced blocks", [...shape, keyBlocks]),
      };
      drawn.set(device, blocks);
      await blocks.counts.writeFrom(counts);
      await blocks.indices.writeFrom(indices);
    }
    return drawn;
  }

  /** Draws without replacement, ascending (Knuth's selection sampling). */
  #draw(out: Int32Array, row: { causal: number; count: number }): void {
    const { causal, count } = row;
    let taken = 1;
    out[0] = 0;
    for (let block = 1; block < causal - 1; block++) {
      const needed = count - 1 - taken;
      if (this.#random() * (causal - 1 - block) < needed) out[taken++] = block;
    }
    if (causal > 1) out[taken] = causal - 1;
  }

  /** Frees the drawn blocks; a second call does nothing. */
  [Symbol.dispose](): void {
    for (const { counts, indices } of [...this.#drawn.values()].flatMap((on) => [...on.values()])) {
      counts[Symbol.dispose]();
      indices[Symbol.dispose]();
    }
    this.#drawn.clear();
  }
}
