/**
 * The ops that `bench --kernels` times, at a model's shape, but for products: the layers between
 * them, attention and selection, decoding.
 *
 * @module
 */
import { RandomSelection } from "../../lib/attention/random_selection.ts";
import { TILE_TOKENS } from "../../lib/ffi/symbols.ts";
import { selectionTensors } from "../../lib/attention/xattention.ts";
import type { Device, DType } from "../../lib/device/device.ts";
import type { KvSegment } from "../../lib/device/kv_segment.ts";
import { Tensor } from "../../lib/device/tensor.ts";
import { invariant } from "../../lib/errors.ts";
import type { ModelShape } from "../../lib/model/model_shape.ts";
import type { ComputeDType, WeightWish } from "../../lib/model/precision.ts";
import { inverseFrequencies } from "../../lib/model/rope_frequencies.ts";
import { RandomSource } from "../../lib/model/random_weights.ts";
import { antidiagonalScore } from "../../lib/ops/antidiagonal_score.ts";
import { attentionBlockSparse } from "../../lib/ops/attention_block_sparse.ts";
import { attentionDecode } from "../../lib/ops/attention_decode.ts";
import { attentionDense } from "../../lib/ops/attention_dense.ts";
import { attentionRest } from "../../lib/ops/attention_rest.ts";
import { rmsNorm } from "../../lib/ops/rms_norm.ts";
import { rope, ropeTable } from "../../lib/ops/rope.ts";
import { argmax } from "../../lib/ops/sample.ts";
import { selectTiles } from "../../lib/ops/select_tiles.ts";
import { swiglu } from "../../lib/ops/swiglu.ts";
import { tileMeans } from "../../lib/ops/tile_means.ts";

/** One op at one size. */
export interface KernelCase {
  readonly name: string;
  readonly run: () => Promise<void>;
}

/** What the cases are made for. */
export interface CaseOptions extends WeightWish {
  readonly config: ModelShape;
  readonly dtype: ComputeDType;
  /** Rows of products and of the layers between them. */
  readonly rows: number;
  /** Tokens of attention. */
  readonly tokens: number;
  readonly stride: number;
  readonly threshold: number;
  readonly density: number;
}

/** Tensors of random numbers, freed together. */
export class CaseTensors implements Disposable {
  readonly #device: Device;
  readonly #owned = new DisposableStack();
  readonly #source: RandomSource;

  constructor(device: Device) {
    this.#device = device;
    this.#source = this.#owned.use(new RandomSource());
  }

  get device(): Device {
    return this.#device;
  }

  /** Zeros. */
  empty(dtype: DType, ...shape: number[]): Tensor {
    return this.#owned.use(Tensor.allocate(this.#device, { dtype, shape, label: "bench" }));
  }

  /** Normal numbers; zeros would let a GPU run faster than real ones. */
  async random(dtype: DType, shape: readonly number[], deviation?: number): Promise<Tensor> {
    const tensor = this.empty(dtype, ...shape);
    await this.#source.fill(tensor, deviation);
    return tensor;
  }

  /** Numbers from `first` on. */
  async consecutive(count: number): Promise<Tensor> {
    const tensor = this.empty("i32", count);
    await tensor.writeFrom(Int32Array.from({ length: count }, (_, i) => i));
    return tensor;
  }

  /** Something that `make` gives to the owner of all. */
  take<T>(make: (owned: DisposableStack) => T): T {
    return make(this.#owned);
  }

  own<T extends Disposable>(value: T): T {
    return this.#owned.use(value);
  }

  [Symbol.dispose](): void {
    this.#owned.dispose();
  }
}

/** Norm, rotation and activation. */
export async function layerCases(
  tensors: CaseTensors,
  options: CaseOptions,
): Promise<KernelCase[]> {
  const { config, dtype, rows } = options;
  const { hiddenSize, intermediateSize, queryHeads: qHeads, kvHeads, headDim } = config;
  const { device } = tensors;
  const residual = await tensors.random("f32", [rows, hiddenSize], 1);
  const weight = await tensors.random("bf16", [hiddenSize]);
  const normed = tensors.empty(dtype, rows, hiddenSize);
  const qkv = await tensors.random("f32", [rows, (qHeads + 2 * kvHeads) * headDim], 1);
  const qOut = tensors.empty(device.queryDtype, rows, qHeads, headDim);
  const cacheOf = () => tensors.empty(dtype, kvHeads, rows, headDim);
  const cache = { keys: cacheOf(), values: cacheOf() };
  const table = tensors.empty("f32", rows, headDim);
  const positions = await tensors.consecutive(rows);
  const [rotation] = config.ropes;
  invariant(rotation !== undefined, "a model that is timed rotates queries and keys");
  const inverseFrequency = tensors.empty("f32", rotation.dims / 2);
  await inverseFrequency.writeFrom(inverseFrequencies(rotation));
  await ropeTable(device, { table, positions, inverseFrequency });
  const gateUp = await tensors.random("f32", [rows, 2 * intermediateSize], 1);
  const activated = tensors.empty(dtype, rows, intermediateSize);
  return [
    {
      name: `rms_norm ${rows}`,
      run: () => rmsNorm(device, { out: normed, residual, weight, eps: 1e-5 }),
    },
    {
      name: `rope ${rows}`,
      run: () =>
        rope(device, { qOut, cache, qkv, table, rows: positions, qHeads, kvHeads, headDim }),
    },
    { name: `swiglu ${rows}`, run: () => swiglu(device, { out: activated, gateUp }) },
  ];
}

/** Tokens of a chunk of a prefill on a GPU, in which mass and selection run there. */
const CHUNK_TOKENS = 8192;

/** Mass and selection of a whole prefill, chunk after chunk: as many queries, and all keys so far. */
function chunkedCases(
  device: Device,
  options: {
    q: Tensor;
    keys: KvSegment;
    mass: Tensor;
    counts: Tensor;
    indices: Tensor;
    stride: number;
    threshold: number;
    scale: number;
  },
): KernelCase[] {
  const { q, keys, mass, counts, indices, stride, threshold, scale } = options;
  const [tokens = 0, heads = 0] = q.shape;
  if (tokens <= CHUNK_TOKENS) return [];
  const chunks = Array.from({ length: Math.ceil(tokens / CHUNK_TOKENS) }, (_, chunk) => {
    const qOffset = chunk * CHUNK_TOKENS;
    const count = Math.min(CHUNK_TOKENS, tokens - qOffset);
    const { mass: shape } = selectionTensors({
      queryHeads: heads,
      queryTokens: count,
      keyTokens: qOffset + count,
    });
    const part = (tensor: Tensor, extents: readonly number[]) =>
      tensor.reshape([tensor.size]).rows(0, extents.reduce((size, extent) => size * extent, 1))
        .reshape(extents);
    return {
      qOffset,
      q: q.rows(qOffset, count),
      keys: { ...keys, tokens: qOffset + count },
      mass: part(mass, shape),
      indices: part(indices, shape),
      counts: part(counts, shape.slice(0, 2)),
    };
  });
  const name = (op: string): string => `${op} ${tokens} by ${CHUNK_TOKENS}`;
  return [
    {
      name: name("antidiagonal mass"),
      run: async () => {
        for (const { mass, q, keys, qOffset } of chunks) {
          await antidiagonalScore(device, { mass, q, keys, qOffset, stride, scale });
        }
      },
    },
    {
      name: name("select tiles"),
      run: async () => {
        for (const { counts, indices, mass, qOffset } of chunks) {
          const firstTile = qOffset / TILE_TOKENS;
          await selectTiles(device, { counts, indices, mass, firstTile: firstTile, threshold });
        }
      },
    },
  ];
}

/** What `--rest mean` adds: selected tiles in f32, means of all tiles, whole and chunk after chunk. */
function restCases(
  tensors: CaseTensors,
  options: {
    q: Tensor;
    out: Tensor;
    keys: KvSegment;
    chosen: { counts: Tensor; indices: Tensor };
    scale: number;
  },
): KernelCase[] {
  const { device } = tensors;
  const { q, out, keys, chosen, scale } = options;
  const [tokens = 0, heads = 0] = q.shape;
  const [kvHeads = 0, , headDim = 0] = keys.keys.shape;
  const tiles = Math.ceil(tokens / TILE_TOKENS);
  const make = () => tensors.empty(device.queryDtype, kvHeads, tiles, headDim);
  const means = { keys: make(), values: make(), start: 0, tokens: tiles };
  const partial = tensors.empty("f32", ...q.shape);
  const partialLse = tensors.empty("f32", tokens, heads);
  const common = { q, ...chosen, qOffset: 0, scale };
  const chunks = Array.from({ length: Math.ceil(tokens / CHUNK_TOKENS) }, (_, chunk) => ({
    ...keys,
    tokens: Math.min(tokens, (chunk + 1) * CHUNK_TOKENS),
  }));
  return [
    {
      name: `attention block-sparse ${tokens} to f32`,
      run: () => attentionBlockSparse(device, { ...common, out: partial, lse: partialLse, keys }),
    },
    { name: `tile means ${tokens}`, run: () => tileMeans(device, { means, keys }) },
    ...(chunks.length === 1 ? [] : [{
      name: `tile means ${tokens} by ${CHUNK_TOKENS}`,
      run: async () => {
        for (const seen of chunks) await tileMeans(device, { means, keys: seen });
      },
    }]),
    {
      name: `attention rest ${tokens}`,
      run: () => attentionRest(device, { ...common, out, partial, partialLse, means }),
    },
  ];
}

/** Causal attention of all tokens, mass, selection, selected tiles; and one token's. */
export async function attentionCases(
  tensors: CaseTensors,
  options: CaseOptions,
): Promise<KernelCase[]> {
  const { config, dtype, tokens, stride, threshold, density } = options;
  const { queryHeads, kvHeads, headDim, vocabularySize } = config;
  const { device } = tensors;
  const { queryDtype } = device;
  const q = await tensors.random(queryDtype, [tokens, queryHeads, headDim], 1);
  const out = tensors.empty(dtype, tokens, queryHeads, headDim);
  const keys = {
    keys: await tensors.random(dtype, [kvHeads, tokens, headDim], 1),
    values: await tensors.random(dtype, [kvHeads, tokens, headDim], 1),
    start: 0,
    tokens,
  };
  const shape = selectionTensors({ queryHeads, queryTokens: tokens, keyTokens: tokens }).mass;
  const [, queryTiles = 0] = shape;
  const mass = tensors.empty("f32", ...shape);
  const counts = tensors.empty("i32", queryHeads, queryTiles);
  const indices = tensors.empty("i32", ...shape);
  const random = tensors.own(new RandomSelection([device], density));
  const chosen = await random.of({ heads: queryHeads, firstTile: 0, queryTiles }, device);
  const scale = 1 / Math.sqrt(headDim);
  const keyCount = tensors.empty("i32", 1);
  await keyCount.writeFrom(Int32Array.of(tokens));
  const logits = await tensors.random("f32", [1, vocabularySize], 1);
  const token = tensors.empty("i32", 1);
  const last = { q: q.rows(tokens - 1, 1), out: out.rows(tokens - 1, 1) };
  const common = { q, keys, qOffset: 0, scale };
  return [
    {
      name: `attention dense ${tokens}`,
      run: () => attentionDense(device, { out, ...common }),
    },
    {
      name: `antidiagonal mass ${tokens}`,
      run: () => antidiagonalScore(device, { mass, stride, ...common }),
    },
    {
      name: `select tiles ${tokens}`,
      run: () => selectTiles(device, { counts, indices, mass, firstTile: 0, threshold }),
    },
    ...chunkedCases(device, { ...common, mass, counts, indices, stride, threshold }),
    {
      name: `attention block-sparse ${tokens}`,
      run: () => attentionBlockSparse(device, { out, ...common, ...chosen }),
    },
    ...restCases(tensors, { q, out, keys, chosen, scale }),
    {
      name: `attention decode ${tokens}`,
      run: () => attentionDecode(device, { ...last, keys, keyCount, causal: true, scale }),
    },
    { name: `argmax ${vocabularySize}`, run: () => argmax(device, { out: token, logits }) },
  ];
}
