/**
 * Random weights of a model's shape, made on the devices: for benchmarks without a model's files.
 *
 * @module
 */
import type { Device } from "../device/device.ts";
import type { Stage } from "../device/stages.ts";
import { Tensor } from "../device/tensor.ts";
import { copy } from "../ops/convert.ts";
import { normalNumber, uniformNumbers } from "../random.ts";
import type { ModelShape } from "./model_shape.ts";
import { hasEightBits, type Precision, PRECISIONS } from "./precision.ts";
import type { ModelWeights } from "./weight_tensors.ts";
import { placeWeights } from "./weight_upload.ts";

/** Numbers from which all weights are copied. */
const POOL_ELEMENTS = 1 << 20;

/**
 * Makes bf16 weights, or rounds them to 8 bits where the precision says so: matrices keep the size of
 * their input, norms are near 1. They are the same numbers wherever the layers lie.
 *
 * @throws {KernelError} If there is not enough memory.
 */
export async function randomWeights(
  stages: readonly Stage[],
  config: ModelShape,
  precision: Precision = PRECISIONS.bf16,
): Promise<ModelWeights> {
  using source = new RandomSource();
  const fused = stages.some(({ device }) => !device.hasHostMemory);
  const fill = (out: Tensor) => source.fill(out);
  const weights = hasEightBits(precision) ? precision : PRECISIONS.bf16;
  return await placeWeights(stages, { config, precision: weights, fused, fill });
}

/** What all pools are made of: kept, as it takes longer than a small model's run. */
let normalNumbers: Float32Array<ArrayBuffer> | undefined;

/** Random numbers on devices, copied from pools of normal ones there. */
export class RandomSource implements Disposable {
  readonly #random = uniformNumbers(1);
  readonly #pools = new Map<Device, Map<string, Tensor>>();

  /**
   * Fills a tensor of floats with stretches of a pool.
   *
   * @param deviation Around 0; by default what keeps a matrix's product of its input's size. 0
   * stands for numbers near 1, as vectors get them.
   */
  async fill(tensor: Tensor, deviation?: number): Promise<void> {
    const inputs = tensor.shape[1];
    const usual = inputs === undefined ? 0 : 1 / Math.sqrt(inputs);
    const pool = await this.#pool(tensor, deviation ?? usual);
    const flat = tensor.reshape([tensor.size]);
    for (let at = 0; at < tensor.size;) {
      const start = Math.floor(this.#random() * (POOL_ELEMENTS / 2));
      const count = Math.min(tensor.size - at, POOL_ELEMENTS - start);
      await copy(tensor.device, { out: flat.rows(at, count), in: pool.rows(start, count) });
      at += count;
    }
  }

  /** Numbers for a tensor: of its type, on its device. */
  async #pool({ device, dtype }: Tensor, deviation: number): Promise<Tensor> {
    const key = `${dtype} ${deviation}`;
    const pools = this.#pools.get(device) ?? new Map<string, Tensor>();
    this.#pools.set(device, pools);
    const known = pools.get(key);
    if (known !== undefined) return known;
    const shape = [POOL_ELEMENTS];
    const pool = Tensor.allocate(device, { dtype, shape, label: "random numbers" });
    pools.set(key, pool);
    const random = uniformNumbers(2);
    normalNumbers ??= Float32Array.from({ length: POOL_ELEMENTS }, () => normalNumber(random));
    const values = normalNumbers.map((value) =>
      deviation === 0 ? 1 + 0.1 * value : deviation * value
    );
    await pool.writeFrom(values);
    return pool;
  }

  [Symbol.dispose](): void {
    for (const pools of this.#pools.values()) {
      for (const pool of pools.values()) pool[Symbol.dispose]();
    }
  }
}
