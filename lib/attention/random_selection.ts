/**
 * A selection of tiles with a given share, for benchmarks: random weights give no natural sparsity.
 *
 * @module
 */
import type { Device } from "../device/device.ts";
import { Tensor } from "../device/tensor.ts";
import { invariant } from "../errors.ts";
import { uniformNumbers } from "../random.ts";

/** Rows of tiles of one call: `firstTile` to `firstTile + queryTiles`. */
export interface TileRows {
  readonly heads: number;
  readonly firstTile: number;
  readonly queryTiles: number;
}

/** Selected tiles as `attentionBlockSparse()` takes them. */
export interface RandomTiles {
  /** [heads, queryTiles] i32. */
  readonly counts: Tensor;
  /** [heads, queryTiles, firstTile + queryTiles] i32. */
  readonly indices: Tensor;
}

/**
 * Tiles drawn uniformly per head and row, besides tile 0 and the diagonal one, which are always
 * selected. Drawn once per place in the sequence and kept, so that drawing costs no timed run anything.
 */
export class RandomSelection implements Disposable {
  readonly #devices: readonly Device[];
  readonly #density: number;
  readonly #random = uniformNumbers(1);
  readonly #drawn = new Map<string, ReadonlyMap<Device, RandomTiles>>();

  /**
   * @param devices Where the layers lie: all take the same tiles.
   * @param density Share of the causal tiles, above 0 and at most 1.
   * @throws {RangeError} If it is out of its range.
   */
  constructor(devices: readonly Device[], density: number) {
    if (!(density > 0 && density <= 1)) {
      throw new RangeError(
        `Cannot draw tiles as 'density' must be above 0 and at most 1: current value is ${density}`,
      );
    }
    this.#devices = devices;
    this.#density = density;
  }

  /** The tiles of some rows on one of the devices; they belong to this object. */
  async of(rows: TileRows, device: Device): Promise<RandomTiles> {
    const key = `${rows.heads} ${rows.firstTile} ${rows.queryTiles}`;
    const known = this.#drawn.get(key) ?? await this.#drawRows(rows);
    this.#drawn.set(key, known);
    const tiles = known.get(device);
    invariant(tiles !== undefined, "tiles are drawn for all devices");
    return tiles;
  }

  async #drawRows(rows: TileRows): Promise<ReadonlyMap<Device, RandomTiles>> {
    const { heads, firstTile, queryTiles } = rows;
    const keyTiles = firstTile + queryTiles;
    const counts = new Int32Array(heads * queryTiles);
    const indices = new Int32Array(heads * queryTiles * keyTiles);
    let carry = 0;
    for (let row = 0; row < counts.length; row++) {
      const causal = firstTile + row % queryTiles + 1;
      // What rounding leaves is carried on, so that the share holds over all rows.
      const wanted = this.#density * causal + carry;
      const count = Math.min(causal, Math.max(Math.min(2, causal), Math.round(wanted)));
      carry = Math.max(-causal, Math.min(causal, wanted - count));
      counts[row] = count;
      this.#draw(indices.subarray(row * keyTiles), { causal, count });
    }
    const shape = [heads, queryTiles];
    const drawn = new Map<Device, RandomTiles>();
    for (const device of this.#devices) {
      const make = (label: string, shape: readonly number[]) =>
        Tensor.allocate(device, { dtype: "i32", shape, label });
      const tiles = {
        counts: make("random counts", shape),
        indices: make("random tiles", [...shape, keyTiles]),
      };
      drawn.set(device, tiles);
      await tiles.counts.writeFrom(counts);
      await tiles.indices.writeFrom(indices);
    }
    return drawn;
  }

  /** Draws without replacement, ascending (Knuth's selection sampling). */
  #draw(out: Int32Array, row: { causal: number; count: number }): void {
    const { causal, count } = row;
    let drawn = 1;
    out[0] = 0;
    for (let tile = 1; tile < causal - 1; tile++) {
      const needed = count - 1 - drawn;
      if (this.#random() * (causal - 1 - tile) < needed) out[drawn++] = tile;
    }
    if (causal > 1) out[drawn] = causal - 1;
  }

  /** Frees the drawn tiles; a second call does nothing. */
  [Symbol.dispose](): void {
    for (const { counts, indices } of [...this.#drawn.values()].flatMap((on) => [...on.values()])) {
      counts[Symbol.dispose]();
      indices[Symbol.dispose]();
    }
    this.#drawn.clear();
  }
}
