/**
 * Keys and values of one host, all layers, in rows that a caller assigns.
 *
 * @module
 */
import type { Device } from "../device/device.ts";
import type { KvSegment } from "../device/kv_segment.ts";
import type { Tensor } from "../device/tensor.ts";
import { Workspace, workspaceBytes } from "../device/workspace.ts";
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

/** Bytes of device memory that a cache needs. */
export function cacheBytes(options: KvCacheOptions): number {
  const tensor = { dtype: options.dtype, shape: cacheShape(options) };
  return 2 * options.layers * workspaceBytes([tensor]);
}

/** A cache of fixed capacity, in one piece of memory. */
export class KvCache implements Disposable {
  readonly capacity: number;
  readonly #memory: Workspace;
  readonly #layers: readonly LayerCache[];

  /**
   * Allocates the cache.
   *
   * @throws {KernelError} If there is not enough memory.
   */
  constructor(device: Device, options: KvCacheOptions) {
    const { dtype } = options;
    const shape = cacheShape(options);
    this.capacity = Math.max(1, options.capacity);
    this.#memory = Workspace.allocate(device, cacheBytes(options));
    this.#layers = Array.from({ length: options.layers }, (_, layer) => ({
      keys: this.#memory.take({ dtype, shape, label: `keys of layer ${layer}` }),
      values: this.#memory.take({ dtype, shape, label: `values of layer ${layer}` }),
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
    this.#memory[Symbol.dispose]();
  }
}

function cacheShape(options: KvCacheOptions): readonly number[] {
  return [options.kvHeads, Math.max(1, options.capacity), options.headDim];
}
