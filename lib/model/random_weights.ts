/**
 * Random weights of a model's shape, made on the device: for benchmarks without a model's files.
 *
 * @module
 */
import type { Device, DType } from "../device/device.ts";
import { Tensor } from "../device/tensor.ts";
import { Workspace, workspaceBytes } from "../device/workspace.ts";
import { copy } from "../ops/convert.ts";
import { normalNumber, uniformNumbers } from "../random.ts";
import type { LlamaConfig } from "./config.ts";
import {
  allWeightSpecs,
  type LayerPart,
  layerWeightSpecs,
  modelWeightSpecs,
  type WeightSpec,
} from "./weight_names.ts";
import { type LayerWeights, type ModelWeights, takeLayer } from "./weight_tensors.ts";

/** Numbers from which all weights are copied. */
const POOL_ELEMENTS = 1 << 20;

/**
 * Makes bf16 weights: matrices keep the size of their input, norms are near 1.
 *
 * @throws {KernelError} If there is not enough memory.
 */
export async function randomWeights(device: Device, config: LlamaConfig): Promise<ModelWeights> {
  using owned = new DisposableStack();
  const specs = allWeightSpecs(config).map((spec) => ({ ...spec, dtype: "bf16" as const }));
  const arena = owned.use(Workspace.allocate(device, workspaceBytes(specs)));
  using source = new RandomSource(device);
  const make = async (spec: WeightSpec): Promise<Tensor> => {
    const tensor = arena.take({ dtype: "bf16", shape: spec.shape, label: spec.name });
    await source.fill(tensor);
    return tensor;
  };
  const model = modelWeightSpecs(config);
  const embedding = await make(model.embedding);
  const layers: LayerWeights[] = [];
  for (let layer = 0; layer < config.layerCount; layer++) {
    const specs = layerWeightSpecs(config, layer);
    const weights = takeLayer(specs, { arena, dtype: "bf16", fused: device.kind !== "cpu" });
    for (const part of Object.keys(specs) as LayerPart[]) await source.fill(weights[part]);
    layers.push(weights);
  }
  const norm = await make(model.norm);
  const head = model.head === model.embedding ? embedding : await make(model.head);
  const kept = owned.move();
  return { embedding, layers, norm, head, [Symbol.dispose]: () => kept.dispose() };
}

/** Random numbers on a device, copied from pools of normal ones. */
export class RandomSource implements Disposable {
  readonly #device: Device;
  readonly #random = uniformNumbers(1);
  #normal: Float32Array<ArrayBuffer> | undefined;
  readonly #pools = new Map<string, Tensor>();

  constructor(device: Device) {
    this.#device = device;
  }

  /**
   * Fills a tensor of floats with stretches of a pool.
   *
   * @param deviation Around 0; by default what keeps a matrix's product of its input's size. 0
   * stands for numbers near 1, as vectors get them.
   */
  async fill(tensor: Tensor, deviation?: number): Promise<void> {
    const inputs = tensor.shape[1];
    const usual = inputs === undefined ? 0 : 1 / Math.sqrt(inputs);
    const pool = await this.#pool(tensor.dtype, deviation ?? usual);
    const flat = tensor.reshape([tensor.size]);
    for (let at = 0; at < tensor.size;) {
      const start = Math.floor(this.#random() * (POOL_ELEMENTS / 2));
      const count = Math.min(tensor.size - at, POOL_ELEMENTS - start);
      await copy(this.#device, { out: flat.rows(at, count), in: pool.rows(start, count) });
      at += count;
    }
  }

  async #pool(dtype: DType, deviation: number): Promise<Tensor> {
    const key = `${dtype} ${deviation}`;
    const known = this.#pools.get(key);
    if (known !== undefined) return known;
    const shape = [POOL_ELEMENTS];
    const pool = Tensor.allocate(this.#device, { dtype, shape, label: "random numbers" });
    this.#pools.set(key, pool);
    const random = uniformNumbers(2);
    this.#normal ??= Float32Array.from({ length: POOL_ELEMENTS }, () => normalNumber(random));
    const values = this.#normal.map((value) =>
      deviation === 0 ? 1 + 0.1 * value : deviation * value
    );
    await pool.writeFrom(values);
    return pool;
  }

  [Symbol.dispose](): void {
    for (const pool of this.#pools.values()) pool[Symbol.dispose]();
  }
}
