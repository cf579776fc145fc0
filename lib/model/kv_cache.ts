/**
 * Keys and values of one host, all layers, in rows that a caller assigns.
 *
 * @module
 */
import type { KvSegment } from "../device/kv_segment.ts";
import type { Stage } from "../device/stages.ts";
import type { Tensor } from "../device/tensor.ts";
import { Workspace, workspaceBytes } from "../device/workspace.ts";
import { invariant } from "../errors.ts";

/** The sizes of a cache, per layer. */
export interface KvCacheOptions {
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

/** Bytes of device memory that some layers of a cache need. */
export function cacheBytes(options: KvCacheOptions & { readonly layers: number }): number {
  const tensor = { dtype: options.dtype, shape: cacheShape(options) };
  return 2 * options.layers * workspaceBytes([tensor]);
}

/** A cache of fixed capacity, in one piece of memory on each device. */
export class KvCache implements Disposable {
  readonly capacity: number;
  readonly #owned: DisposableStack;
  readonly #layers: readonly LayerCache[];

  /**
   * Allocates the cache: each layer's part on the layer's device.
   *
   * @throws {KernelError} If there is not enough memory.
   */
  constructor(stages: readonly Stage[], options: KvCacheOptions) {
    const { dtype } = options;
    const shape = cacheShape(options);
    this.capacity = Math.max(1, options.capacity);
    using owned = new DisposableStack();
    this.#layers = stages.flatMap(({ device, firstLayer, endLayer }) => {
      const layers = endLayer - firstLayer;
      const memory = owned.use(Workspace.allocate(device, cacheBytes({ ...options, layers })));
      return Array.from({ length: layers }, (_, i) => ({
        keys: memory.take({ dtype, shape, label: `keys of layer ${firstLayer + i}` }),
        values: memory.take({ dtype, shape, label: `values of layer ${firstLayer + i}` }),
      }));
    });
    this.#owned = owned.move();
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
    this.#owned.dispose();
  }
}

function cacheShape(options: KvCacheOptions): readonly number[] {
  return [options.kvHeads, Math.max(1, options.capacity), options.headDim];
}
