/**
 * Copies a model's weights from its mapped files to devices with memory of their own.
 *
 * Those of one device lie in one piece of memory. Queries, keys and values of a layer lie together, and so do
 * gate and up, so that each group is one matrix product.
 *
 * @module
 */
import type { Device, DType } from "../device/device.ts";
import { type Fp8Matrix, fp8Parts } from "../device/fp8_matrix.ts";
import { sendTensor } from "../device/send.ts";
import { type LayerRange, PerStage, type Stage } from "../device/stages.ts";
import { type Int8Matrix, int8Parts } from "../device/int8_matrix.ts";
import { Tensor } from "../device/tensor.ts";
import { Workspace, workspaceBytes } from "../device/workspace.ts";
import { DeviceError } from "../errors.ts";
import { quantize } from "../ops/quantize.ts";
import { type FillFp8, fillFp8, fp8Group, isFp8, roundFrom, roundWeight } from "./fp8_weights.ts";
import { fillInt8, groupLabel, int8Groups } from "./int8_weights.ts";
import {
  allWeights,
  isTied,
  type ModelShape,
  type ProductShape,
  productShapes,
  stageWeights,
  type WeightSpec,
} from "./model_shape.ts";
import { type EightBits, isEightBits, plainWeights, type Precision } from "./precision.ts";
import type { WeightFiles } from "./weight_files.ts";
import { fillWeight } from "./weight_fill.ts";
import { findWeight } from "./weight_lookup.ts";
import {
  biasOptions,
  type LayerWeights,
  makeLayer,
  type ModelWeights,
  splitBias,
  takeFp8,
  takeInt8,
  takeProduct,
} from "./weight_tensors.ts";

/** What to copy, and what it becomes. */
export interface UploadOptions {
  readonly files: WeightFiles;
  readonly folder: string;
  readonly config: ModelShape;
  readonly precision: Precision;
  /** Called after every weight. */
  readonly onProgress?: (() => void) | undefined;
}

/**
 * Bytes of device memory that the weights of a model need.
 *
 * @param options `range`: the layers of one device, where they are spread over several.
 */
export function weightBytes(
  config: ModelShape,
  options: { precision: Precision; range?: LayerRange | undefined },
): number {
  const { precision, range = { firstLayer: 0, endLayer: config.layerCount } } = options;
  const dtype = plainWeights(precision);
  type Part = { readonly dtype: DType; readonly shape: readonly number[] };
  const rounded = (
    { shape: [rows = 0, columns = 0], name: label }: WeightSpec,
    kind: EightBits,
  ): Part[] => {
    const options = { shape: [rows, columns], label } as const;
    return Object.values(kind === "int8" ? int8Parts(options) : fp8Parts(options));
  };
  const kindOf = new Map(
    config.layers.flatMap(productShapes).flatMap((product) => {
      const kind = roundedKind(product, { config, precision });
      return product.weights.map((spec) => [spec, kind] as const);
    }),
  );
  if (!isTied(config) && isEightBits(precision.head)) kindOf.set(config.head, precision.head);
  // Biases and vectors that are scaled are f32.
  const isWide = ({ name, scale }: WeightSpec) => scale !== undefined || name.endsWith(".bias");
  const plans = stageWeights(config, range).flatMap((spec): Part[] => {
    const kind = kindOf.get(spec);
    if (kind !== undefined) return rounded(spec, kind);
    return [{ dtype: isWide(spec) ? "f32" : dtype, shape: spec.shape }];
  });
  const ownHead = range.endLayer === config.layerCount && isTied(config)
    ? precision.head
    : undefined;
  return workspaceBytes([...plans, ...ownHead === undefined ? [] : rounded(config.head, ownHead)]);
}

/** What a product's weights are rounded to, if to 8 bits. */
function roundedKind(
  product: ProductShape,
  options: { config: ModelShape; precision: Precision },
): EightBits | undefined {
  const { weights } = options.precision;
  if (weights === "fp8") return isFp8(product, options) ? weights : undefined;
  return weights === "int8" ? weights : undefined;
}

/** Fills a weight's place on its device. */
export type FillWeight = (out: Tensor, spec: WeightSpec) => Promise<void>;

/**
 * Copies all weights, each to the device of its layer.
 *
 * @throws {FileError} If a tensor is missing or is not what the config says.
 * @throws {KernelError} If there is not enough memory.
 */
export async function uploadWeights(
  stages: readonly Stage[],
  options: UploadOptions,
): Promise<ModelWeights> {
  const { config, precision } = options;
  // What is wrong with the files is found before gigabytes are copied.
  for (const spec of allWeights(config)) findWeight(options.files, { spec, ...options });
  return await placeWeights(stages, {
    config,
    precision,
    fused: true,
    fill: async (out, spec) => {
      await fillWeight(out, { ...options, spec });
      options.onProgress?.();
    },
    fillFp8: async (out, spec) => {
      await roundWeight(out, { ...options, spec });
      options.onProgress?.();
    },
  });
}

/**
 * Allocates the weights of all stages and fills them in the order of the model.
 *
 * @throws {KernelError} If there is not enough memory.
 */
export async function placeWeights(
  stages: readonly Stage[],
  options: {
    config: ModelShape;
    precision: Precision;
    fused: boolean;
    fill: FillWeight;
    /** Fills a weight in e4m3; by default with what `fill` gives of bf16, rounded. */
    fillFp8?: FillFp8;
  },
): Promise<ModelWeights> {
  const { config, precision, fused, fill } = options;
  const round = options.fillFp8 ??
    ((out: Fp8Matrix, spec: WeightSpec) =>
      roundFrom(out, { dtype: "bf16", fill: (raw: Tensor) => fill(raw, spec) }));
  for (const { device } of stages) checkKinds(device, precision);
  const dtype = plainWeights(precision);
  using owned = new DisposableStack();
  const arenas = new PerStage(
    stages,
    ({ device, ...range }) =>
      owned.use(Workspace.allocate(device, weightBytes(config, { precision, range }))),
  );
  const place = async (layer: number, spec: WeightSpec): Promise<Tensor> => {
    // A vector that is scaled is not rounded again.
    const own = spec.scale === undefined ? dtype : "f32";
    const out = arenas.of(layer).take({ dtype: own, shape: spec.shape, label: spec.name });
    await fill(out, spec);
    return out;
  };
  const embedding = await place(0, config.embedding);
  const layers: LayerWeights[] = [];
  for (const [index, layer] of config.layers.entries()) {
    const arena = arenas.of(index);
    layers.push(
      await makeLayer(layer, {
        vector: (spec) => place(index, spec),
        product: async (shape) => {
          const biases = shape.biases ?? [];
          const kind = roundedKind(shape, { config, precision });
          if (kind !== undefined) {
            const pieces = kind === "int8"
              ? await placeInt8(shape.weights, { arena, fill })
              : [await placeFp8(shape.weights, { arena, fill: round })];
            return { pieces, bias: await placeBias(biases, { arena, fill }) };
          }
          const { pieces, parts } = takeProduct(shape, { arena, dtype, fused });
          for (const [i, part] of parts.entries()) {
            const spec = shape.weights[i];
            if (spec !== undefined) await fill(part, spec);
          }
          return { pieces, bias: await placeBias(biases, { arena, fill }) };
        },
      }),
    );
  }
  const last = config.layerCount - 1;
  const norm = await place(last, config.norm);
  const end = arenas.of(last);
  const [rounded] = precision.head === "int8"
    ? await placeInt8([config.head], { arena: end, fill })
    : precision.head === "fp8"
    ? [await placeFp8([config.head], { arena: end, fill: round })]
    : [];
  const head = rounded ??
    (isTied(config) ? headOf(embedding, end) : await place(last, config.head));
  const kept = owned.move();
  return { embedding, layers, norm, head, [Symbol.dispose]: () => kept.dispose() };
}

/** @throws {DeviceError} If a device has no code for weights of that kind. */
function checkKinds(device: Device, { weights, head }: Precision): void {
  const refused = [weights, head].find((kind) =>
    isEightBits(kind) && !device.weightKinds.includes(kind)
  );
  if (refused === undefined) return;
  throw new DeviceError(
    `Cannot load weights on ${device.description} as they must be ` +
      `${device.weightKinds.join(" or ")}: current value is ${refused}`,
  );
}

/** A matrix in e4m3, of weights one below the other. */
async function placeFp8(
  weights: readonly WeightSpec[],
  place: { arena: Workspace; fill: FillFp8 },
): Promise<Fp8Matrix> {
  const matrix = takeFp8(place.arena, fp8Group(weights));
  await fillFp8(matrix, { weights, fill: place.fill });
  return matrix;
}

/** Matrices in 8 bits, rounded from bf16 that are made one after the other. */
async function placeInt8(
  weights: ProductShape["weights"],
  place: { arena: Workspace; fill: FillWeight },
): Promise<Int8Matrix[]> {
  const { arena, fill } = place;
  const pieces: Int8Matrix[] = [];
  for (const { specs, shape } of int8Groups(weights)) {
    const matrix = takeInt8(arena, { shape, label: groupLabel(specs) });
    pieces.push(matrix);
    await fillInt8(matrix, {
      specs,
      fill: async (rows, spec) => {
        const { shape, name: label } = spec;
        using whole = Tensor.allocate(arena.device, { dtype: "bf16", shape, label });
        await fill(whole, spec);
        await quantize(arena.device, { out: rows, in: whole });
      },
    });
  }
  return pieces;
}

async function placeBias(
  specs: readonly WeightSpec[],
  place: { arena: Workspace; fill: FillWeight },
): Promise<Tensor | undefined> {
  if (specs.length === 0) return undefined;
  const bias = place.arena.take(biasOptions(specs));
  for (const [i, part] of splitBias(bias, specs).entries()) {
    const spec = specs[i];
    if (spec !== undefined) await place.fill(part, spec);
  }
  return bias;
}

/** The head of a model where it is the embedding; on another device that has a copy of it. */
function headOf(embedding: Tensor, arena: Workspace): Tensor {
  if (arena.device === embedding.device) return embedding;
  const { dtype, shape, label } = embedding;
  const head = arena.take({ dtype, shape, label });
  sendTensor({ from: embedding, to: head });
  return head;
}
