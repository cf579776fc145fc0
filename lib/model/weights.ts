/**
 * A model's weights as tensors on a device.
 *
 * bf16 weights are used where they are mapped, whatever is computed with: f32 arithmetic widens them
 * exactly. f32 weights are used in place where weights are to be f32. All others are converted once. A device with
 * memory of its own gets all of them.
 *
 * @module
 */
import type { Device } from "../device/device.ts";
import type { Stage } from "../device/stages.ts";
import { Tensor } from "../device/tensor.ts";
import { invariant } from "../errors.ts";
import { convert, copy } from "../ops/convert.ts";
import { isTied, type ModelShape, type ProductShape, type WeightSpec } from "./model_shape.ts";
import type { Precision } from "./precision.ts";
import { openWeightFiles, type WeightFiles } from "./weight_files.ts";
import { fillWeight } from "./weight_fill.ts";
import { findWeight, keptDType, refuseUnused } from "./weight_lookup.ts";
import {
  biasOptions,
  type LayerWeights,
  makeLayer,
  type ModelWeights,
  type Product,
  splitBias,
} from "./weight_tensors.ts";
import { uploadWeights } from "./weight_upload.ts";

/** What to load, and for which arithmetic. */
export interface WeightOptions {
  readonly folder: string;
  readonly config: ModelShape;
  readonly precision: Precision;
  /** Whether the files are read into memory instead of being mapped. */
  readonly copyWeights?: boolean | undefined;
  /** Called after every weight that is copied. */
  readonly onProgress?: (() => void) | undefined;
}

/**
 * Loads the weights, each to the device of its layer.
 *
 * @param stages All layers; one stage where the device is the CPU.
 * @throws {FileError} If a file is missing or damaged, or a tensor is missing or has another shape
 * or dtype than the config says, or the files have biases or norms that the config does not have.
 */
export async function loadWeights(
  stages: readonly Stage[],
  options: WeightOptions,
): Promise<ModelWeights> {
  using owned = new DisposableStack();
  const files = owned.use(await openWeightFiles(options.folder, { copy: options.copyWeights }));
  refuseUnused(files, options.config);
  const [first] = stages;
  invariant(first !== undefined, "a model has a stage");
  const { device } = first;
  if (!device.hasHostMemory) return await uploadWeights(stages, { ...options, files });
  const loader = new WeightLoader(device, { files, options, owned });
  const { config } = options;
  const embedding = await loader.load(config.embedding);
  const layers: LayerWeights[] = [];
  for (const layer of config.layers) {
    layers.push(
      await makeLayer(layer, {
        vector: (spec) => loader.load(spec),
        product: (shape) => loader.product(shape),
      }),
    );
  }
  const norm = await loader.load(config.norm);
  const head = isTied(config) ? embedding : await loader.load(config.head);
  const kept = owned.move();
  return { embedding, layers, norm, head, [Symbol.dispose]: () => kept.dispose() };
}

class WeightLoader {
  readonly #device: Device;
  readonly #files: WeightFiles;
  readonly #options: WeightOptions;
  readonly #owned: DisposableStack;

  constructor(
    device: Device,
    parts: { files: WeightFiles; options: WeightOptions; owned: DisposableStack },
  ) {
    this.#device = device;
    this.#files = parts.files;
    this.#options = parts.options;
    this.#owned = parts.owned;
  }

  async product(shape: ProductShape): Promise<Product> {
    const pieces: Tensor[] = [];
    for (const spec of shape.weights) pieces.push(await this.load(spec));
    return { pieces, bias: await this.#bias(shape.biases ?? []) };
  }

  /** Vectors one behind the other. */
  async #bias(specs: readonly WeightSpec[]): Promise<Tensor | undefined> {
    if (specs.length === 0) return undefined;
    const bias = this.#owned.use(Tensor.allocate(this.#device, biasOptions(specs)));
    for (const [i, part] of splitBias(bias, specs).entries()) {
      const spec = specs[i];
      if (spec !== undefined) await this.#fill(part, spec);
    }
    return bias;
  }

  /** A weight in place, or converted to what the arithmetic takes. */
  async load(spec: WeightSpec): Promise<Tensor> {
    const { folder, precision } = this.#options;
    const found = findWeight(this.#files, { spec, folder });
    const { dtype, isMapped } = keptDType(found, { spec, precision });
    if (isMapped) return this.#map(spec);
    const { shape, name: label } = spec;
    const out = this.#owned.use(Tensor.allocate(this.#device, { dtype, shape, label }));
    await this.#fill(out, spec);
    return out;
  }

  /** A weight where it lies in its file. */
  #map(spec: WeightSpec): Tensor {
    const { entry, dtype } = findWeight(this.#files, { spec, folder: this.#options.folder });
    invariant(dtype !== "f64" && dtype !== "q8_0", "a mapped weight has a dtype of tensors");
    const { shape, name: label } = spec;
    const { address, file } = entry;
    return Tensor.foreign(this.#device, { dtype, shape, label, address, keepAlive: file });
  }

  async #fill(out: Tensor, spec: WeightSpec): Promise<void> {
    const { isMapped } = findWeight(this.#files, { spec, folder: this.#options.folder });
    if (isMapped && spec.scale === undefined) {
      const source = this.#map(spec);
      if (source.dtype === out.dtype) await copy(this.#device, { out, in: source });
      else await convert(this.#device, { out, in: source });
      return;
    }
    await fillWeight(out, { files: this.#files, spec, folder: this.#options.folder });
  }
}
