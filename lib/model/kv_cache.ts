/**
 * Keys and values of one host, all layers, in rows that a caller assigns.
 *
 * @module
 */
import type { Device } from "../device/device.ts";
import type { KvSegment } from "../device/kv_segment.ts";
import { Tensor } from "../device/tensor.ts";
import { invariant } from "../errors.ts";

/** The sizes of a cache. */
export interface KvCacheOptions {
  readonly layers: number;
  readonly kvHeads: number;
  readonly headDim: number;
  /** Rows, one per token. */
  readonly capacity: number;
  readonly dtype: "bf16" | "f32";
}

/** Keys and values of one layer: [kv_heads, capacity, head_dim] each. */
export interface LayerCache {
  readonly keys: Tensor;
  readonly values: Tensor;
}

/** A cache of fixed capacity. */
export class KvCache implements Disposable {
  readonly capacity: number;
  readonly #layers: readonly LayerCache[];

  /**
   * Allocates the cache.
   *
   * @throws {KernelError} If there is not enough memory.
   */
  constructor(device: Device, options: KvCacheOptions) {
    const { layers, kvHeads, headDim, dtype } = options;
    this.capacity = Math.max(1, options.capacity);
    const shape = [kvHeads, this.capacity, headDim];
    this.#layers = Array.from({ length: layers }, (_, layer) => ({
      keys: Tensor.allocate(device, { dtype, shape, label: `keys of layer ${layer}` }),
      values: Tensor.allocate(device, { dtype, shape, label: `values of layer ${layer}` }),
    }));
  }

  /** One layer's tensors. */
  layer(index: number): LayerCache {
    const layer = this.#layers[index];
    invariant(layer !== undefined, `the cache has no layer ${index}`);
    return layer;
  }

  /** The rows `start` to `start + tokens` of one layer. */
  segment(layer: number, rows: { start: number; tokens: number }): KvSegment {
    return { ...this.layer(layer), ...rows };
  }

  /** Frees the memory; a second call does nothing. */
  [Symbol.dispose](): void {
    for (const { keys, values } of this.#layers) {
      keys[Symbol.dispose]();
      values[Symbol.dispose]();
    }
  }
}
