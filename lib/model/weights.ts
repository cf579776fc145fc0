/**
 * A model's weights as tensors on a device.
 *
 * bf16 weights are used where they are mapped, whatever is computed with: f32 arithmetic widens them
 * exactly. f32 weights are used in place where weights are to be f32. All others are converted once; those that are to
 * have 8 bits are rounded, or mapped where they were kept beside the model. A device with memory of its own gets all of
 * them.
 *
 * @module
 */
import type { Device } from "../device/device.ts";
import type { Stage } from "../device/stages.ts";
import { Fp8Matrix } from "../device/fp8_matrix.ts";
import { Int8Matrix, type Matrix } from "../device/int8_matrix.ts";
import { Tensor } from "../device/tensor.ts";
import { invariant } from "../errors.ts";
import { convert, copy } from "../ops/convert.ts";
import { modelDigest } from "./digest.ts";
import { fp8Group, isFp8, mapFp8, roundWeight } from "./fp8_weights.ts";
import {
  fillInt8,
  groupLabel,
  int8Groups,
  isInt8,
  isInt8Head,
  mapWeight,
  quantizeWeight,
} from "./int8_weights.ts";
import { keepWeights, KeptWeights } from "./kept_weights.ts";
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
  /**
   * Whether weights that are rounded to 8 bits are kept beside the model: then those that are there are
   * mapped, and one process writes them where they are not.
   */
  readonly kept?: { readonly isWriter: boolean } | undefined;
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
  const { folder, config, copyWeights: copy } = options;
  const { storedWeights: stored } = config;
  const files = owned.use(await openWeightFiles(folder, { copy, stored }));
  refuseUnused(files, config);
  const [first] = stages;
  invariant(first !== undefined, "a model has a stage");
  const { device } = first;
  if (!device.hasHostMemory) return await uploadWeights(stages, { ...options, files });
  // What files have in 8 bits is read as fast as it could be kept.
  const keeps = options.kept !== undefined && stored === undefined && hasInt8(options.precision);
  const digest = keeps ? await modelDigest(folder) : "";
  const kept = keeps ? await KeptWeights.open(folder, digest) : undefined;
  if (kept !== undefined) owned.use(kept);
  const loader = new WeightLoader(device, { files, options, owned, kept });
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
  const head = await loader.head(embedding);
  const { rounded } = loader;
  if (keeps && options.kept?.isWriter === true && rounded.isNew) {
    await keepWeights(folder, { digest, matrices: rounded.matrices });
  }
  const all = owned.move();
  return { embedding, layers, norm, head, [Symbol.dispose]: () => all.dispose() };
}

function hasInt8({ weights, head }: Precision): boolean {
  return weights === "int8" || head === "int8";
}

class WeightLoader {
  readonly #device: Device;
  readonly #files: WeightFiles;
  readonly #options: WeightOptions;
  readonly #owned: DisposableStack;
  readonly #kept: KeptWeights | undefined;
  /** The matrices that have 8 bits, and whether one of them was not kept. */
  readonly rounded: { readonly matrices: Int8Matrix[]; isNew: boolean } = {
    matrices: [],
    isNew: false,
  };

  constructor(
    device: Device,
    parts: {
      files: WeightFiles;
      options: WeightOptions;
      owned: DisposableStack;
      kept: KeptWeights | undefined;
    },
  ) {
    this.#kept = parts.kept;
    this.#device = device;
    this.#files = parts.files;
    this.#options = parts.options;
    this.#owned = parts.owned;
  }

  async product(shape: ProductShape): Promise<Product> {
    const { weights, biases = [] } = shape;
    const { folder } = this.#options;
    const isRounded = (spec: WeightSpec) =>
      isInt8(findWeight(this.#files, { spec, folder }), this.#options);
    const pieces: Matrix[] = [];
    if (isFp8(shape, this.#options)) {
      for (const spec of weights) pieces.push(await this.#fp8(spec));
    } else if (weights.every(isRounded)) {
      for (const group of int8Groups(weights)) pieces.push(await this.#int8(group));
    } else {
      for (const spec of weights) {
        if (!isRounded(spec)) pieces.push(await this.load(spec));
        else for (const group of int8Groups([spec])) pieces.push(await this.#int8(group));
      }
    }
    return { pieces, bias: await this.#bias(biases) };
  }

  async head(embedding: Tensor): Promise<Matrix> {
    const { config: { head: spec }, config, precision, folder } = this.#options;
    const found = findWeight(this.#files, { spec, folder });
    if (isInt8Head(found, precision)) {
      for (const group of int8Groups([spec])) return await this.#int8(group);
    }
    if (precision.head === "fp8") return await this.#fp8(spec);
    return isTied(config) ? embedding : await this.load(spec);
  }

  /** A matrix where its file has it, or rounded now. */
  async #fp8(spec: WeightSpec): Promise<Fp8Matrix> {
    const { folder, onProgress } = this.#options;
    const [device, owned, files] = [this.#device, this.#owned, this.#files];
    const found = findWeight(files, { spec, folder });
    if (found.dtype === "f8e4m3") return await mapFp8(device, { found, spec, owned });
    const out = Fp8Matrix.allocate(device, fp8Group([spec]), owned);
    await roundWeight(out, { files, spec, folder });
    onProgress?.();
    return out;
  }

  /** A matrix of one weight or several, kept or rounded now. */
  async #int8(group: ReturnType<typeof int8Groups>[number]): Promise<Int8Matrix> {
    const { specs, shape } = group;
    const { folder, onProgress } = this.#options;
    const options = { shape, label: groupLabel(specs) };
    const kept = this.#kept?.matrix(this.#device, options);
    const out = kept ?? Int8Matrix.allocate(this.#device, options, this.#owned);
    this.rounded.matrices.push(out);
    if (kept !== undefined) return out;
    this.rounded.isNew = true;
    const fill = async (rows: Int8Matrix, spec: WeightSpec): Promise<void> => {
      await quantizeWeight(rows, { files: this.#files, spec, folder });
      onProgress?.();
    };
    await fillInt8(out, { specs, fill });
    return out;
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
    const found = findWeight(this.#files, { spec, folder: this.#options.folder });
    return mapWeight(this.#device, { found, spec });
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
