/**
 * The scratch tensors of the forward pass: which there are, and how much memory they take.
 *
 * @module
 */
import type { DeviceTraits, DType } from "../device/device.ts";
import type { Tensor } from "../device/tensor.ts";
import { type Workspace, workspaceBytes } from "../device/workspace.ts";
import { invariant } from "../errors.ts";
import { layerPools, type ModelShape } from "./model_shape.ts";
import { isEightBits, type Precision } from "./precision.ts";
import { dependsOnLength } from "./rope_frequencies.ts";

/** The tensors that every model has, in the order in which they lie in memory. */
export const BUFFER_NAMES = [
  ...["ids", "positions", "residual", "normed", "qkv", "q", "attended"],
  ...["unpadded", "added", "gateUp", "activated", "codes", "codeScales"],
  ...["chunkKeys", "chunkValues", "chunkRows"],
] as const;

/** A tensor that every model has; one that a model does not need has no elements. */
export type BufferName = typeof BUFFER_NAMES[number];

/** Scratch tensors for chunks of a given length: a row for each token. */
export type Buffers = Readonly<Record<BufferName, Tensor>> & {
  /** The cache rows of the tokens, in each pool of layers. */
  readonly rows: readonly Tensor[];
  /** A table for each of the model's rotations. */
  readonly tables: readonly Tensor[];
  /** Frequencies of each token, of rotations that depend on lengths. */
  readonly frequencies: readonly (Tensor | undefined)[];
};

/** What a buffer is to be. */
interface BufferPlan {
  readonly label: string;
  readonly dtype: DType;
  readonly shape: readonly number[];
}

/** What the buffers are to be. */
export interface BufferPlans {
  readonly named: Readonly<Record<BufferName, BufferPlan>>;
  readonly rows: readonly BufferPlan[];
  readonly tables: readonly BufferPlan[];
  readonly frequencies: readonly (BufferPlan | undefined)[];
}

/** What decides about them of a device. */
type BufferTraits = Pick<DeviceTraits, "queryDtype" | "resultDtype" | "fp8Rows">;

/** What decides about the buffers' sizes. */
export interface BufferSizes {
  readonly config: ModelShape;
  readonly precision: Precision;
  /** The longest chunk. */
  readonly tokens: number;
  /** Tokens of a chunk whose logits are asked for at once. @default {1} */
  readonly logitRows?: number;
}

/** Bytes of device memory that each device of a transformer needs besides its weights. */
export function transformerBytes(
  device: BufferTraits,
  sizes: BufferSizes,
): number {
  const plans = allPlans(planBuffers(device, sizes));
  const { config: { vocabularySize }, logitRows = 1 } = sizes;
  return workspaceBytes(plans) + 4 * logitRows * vocabularySize;
}

/** The buffers of chunks of some tokens. */
export function planBuffers(
  device: BufferTraits,
  sizes: BufferSizes,
): BufferPlans {
  const { config, precision, tokens } = sizes;
  const { activations, weights, cache } = precision;
  const { hiddenSize, intermediateSize, queryHeads, kvHeads, headDim, ownHeadDim } = config;
  invariant(tokens >= 1, "a chunk has at least one token");
  const plan = (label: string, dtype: DType, ...shape: number[]) => ({
    label,
    dtype,
    shape: [tokens, ...shape],
  });
  const isPadded = headDim !== ownHeadDim;
  // A row of what meets weights of e4m3, as e4m3 itself.
  const isRounded = weights === "fp8" && device.fp8Rows !== undefined;
  const inputs = Math.max(hiddenSize, queryHeads * headDim, intermediateSize);
  // Biases are added to what a product gives, and heads are normalized there: in f32.
  const { layers } = config;
  const resultOf = (isChanged: boolean) => isChanged ? "f32" : device.resultDtype;
  const qkvDtype = resultOf(
    layers.some((layer) => layer.qkv.biases ?? layer.queryNorm ?? layer.keyNorm),
  );
  const gateUpDtype = resultOf(layers.some(({ gateUp }) => gateUp.biases));
  // What is rounded to 8 bits is rotated first.
  const isStored = isEightBits(cache);
  const keyWidth = isStored ? kvHeads * headDim : 0;
  const normsOutput = layers.some(({ outputNorm, downNorm }) => outputNorm ?? downNorm);
  return {
    named: {
      ids: plan("ids", "i32"),
      positions: plan("positions", "i32"),
      residual: plan("residual stream", "f32", hiddenSize),
      normed: plan("normalized input", activations, hiddenSize),
      qkv: plan("queries, keys, values", qkvDtype, (queryHeads + 2 * kvHeads) * ownHeadDim),
      q: plan("queries", device.queryDtype, queryHeads, headDim),
      attended: plan("attention output", activations, queryHeads * headDim),
      unpadded: plan("unpadded output", activations, isPadded ? queryHeads * ownHeadDim : 0),
      added: plan("added", "f32", normsOutput ? hiddenSize : 0),
      gateUp: plan("gate and up", gateUpDtype, 2 * intermediateSize),
      activated: plan("activated", activations, intermediateSize),
      codes: plan("rounded input", "f8e4m3", isRounded ? inputs : 0),
      codeScales: plan("scales of the rounded input", "f32", ...isRounded ? [] : [0]),
      chunkKeys: plan("keys of the chunk", "f32", keyWidth),
      chunkValues: plan("values of the chunk", "f32", keyWidth),
      chunkRows: plan("rows of the chunk", "i32", ...isStored ? [] : [0]),
    },
    rows: layerPools(config).map(() => plan("cache rows", "i32")),
    tables: config.ropes.map(({ dims }) => plan("rotation table", "f32", dims)),
    frequencies: config.ropes.map((rope) =>
      dependsOnLength(rope) ? plan("frequencies", "f32", rope.dims / 2) : undefined
    ),
  };
}

/** All of them, for sizing a workspace. */
export function allPlans({ named, rows, tables, frequencies }: BufferPlans): readonly BufferPlan[] {
  return [
    ...BUFFER_NAMES.map((name) => named[name]),
    ...rows,
    ...tables,
    ...frequencies.flatMap((plan) => plan ?? []),
  ];
}

/** Takes the buffers from a workspace that has room for them. */
export function takeBuffers(memory: Workspace, plans: BufferPlans): Buffers {
  const { named, rows, tables, frequencies } = plans;
  const entries = BUFFER_NAMES.map((name) => [name, memory.take(named[name])]);
  return {
    // The names are those of the plans.
    ...Object.fromEntries(entries) as Readonly<Record<BufferName, Tensor>>,
    rows: rows.map((plan) => memory.take(plan)),
    tables: tables.map((plan) => memory.take(plan)),
    frequencies: frequencies.map((plan) => plan === undefined ? undefined : memory.take(plan)),
  };
}
