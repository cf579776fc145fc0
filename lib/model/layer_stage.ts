/**
 * Consecutive layers of the forward pass on one device, top-down, as the model's shape describes
 * them (arXiv 2302.13971; grouped-query attention, arXiv 2305.13245).
 *
 * The residual stream stays in f32, and so do sums. The inputs of matrix products, keys and values are
 * rounded to what the precision says, some results of products to what `layer_buffers.ts` says.
 *
 * @module
 */
import type { AttentionStrategy } from "../attention/strategy.ts";
import type { Device } from "../device/device.ts";
import { sendTensor } from "../device/send.ts";
import type { Stage } from "../device/stages.ts";
import { Tensor } from "../device/tensor.ts";
import { Workspace, workspaceBytes } from "../device/workspace.ts";
import { invariant } from "../errors.ts";
import { PANEL_ROWS } from "../ffi/symbols.ts";
import { add } from "../ops/add.ts";
import { convert, copy } from "../ops/convert.ts";
import { embedding } from "../ops/embedding.ts";
import { headNorm } from "../ops/head_norm.ts";
import { matmul } from "../ops/matmul.ts";
import { matmulRows } from "../ops/matmul_rows.ts";
import { rmsNorm } from "../ops/rms_norm.ts";
import { ropeTable } from "../ops/rope.ts";
import { swiglu } from "../ops/swiglu.ts";
import {
  allPlans,
  BUFFER_NAMES,
  type BufferName,
  type Buffers,
  planBuffers,
  takeBuffers,
} from "./layer_buffers.ts";
import { writeCache } from "./cache_writer.ts";
import type { LayerCache } from "./layer_cache.ts";
import { type ModelShape, poolNumbers } from "./model_shape.ts";
import type { Precision } from "./precision.ts";
import { roundedInput } from "./rounded_input.ts";
import {
  attentionFactor,
  chunkFrequencies,
  inverseFrequencies,
  type RopeLengths,
} from "./rope_frequencies.ts";
import type { LayerWeights, ModelWeights, Product } from "./weight_tensors.ts";

/** Where the keys and values of a chunk go. */
export interface ChunkTarget {
  /** Keys and values of a layer. */
  readonly layer: (index: number) => LayerCache;
  /**
   * The row of each token in each pool of layers, or -1 for one whose keys and values another rank
   * keeps.
   */
  readonly rows: readonly Int32Array[];
}

/**
 * Some tokens to run through the model: consecutive ones of one sequence, or one of each of several
 * sequences. Only `attention` knows which.
 */
export interface Chunk {
  /** At most `maxTokens` ids. */
  readonly ids: Int32Array;
  /** The position of each. */
  readonly positions: Int32Array;
  /** Where keys and values go; absent on ranks that do not keep them. */
  readonly target?: ChunkTarget | undefined;
  readonly attention: AttentionStrategy;
  /**
   * Whether the tokens are of different sequences: then no token's bits depend on the others, nor on
   * how many there are.
   */
  readonly isBatch?: boolean;
  /**
   * Whether only keys and values are wanted: then the last layer stops after them, and there are
   * no hidden states to read.
   */
  readonly keysOnly: boolean;
  /** Called after every layer. */
  readonly onLayer?: () => void;
  /** The lengths of each token's sequence, for rotations that depend on them. */
  readonly lengthsOf: (token: number) => RopeLengths;
}

/** What a transformer and each of its stages are made of. */
export interface TransformerOptions {
  readonly config: ModelShape;
  readonly weights: ModelWeights;
  readonly precision: Precision;
  /** The longest chunk. */
  readonly maxTokens: number;
  /** Tokens of a chunk whose logits are asked for at once. @default {1} */
  readonly logitRows?: number;
}

/** One layer of one chunk. */
interface LayerCall {
  readonly weights: LayerWeights;
  readonly buffers: Buffers;
  /** How its products are made. */
  readonly multiply: Multiply;
}

/** Some layers that are ready to run, with the scratch memory that they need. */
export class LayerStage implements Disposable {
  readonly #device: Device;
  readonly #stage: Stage;
  readonly #config: ModelShape;
  readonly #poolOf: (layer: number) => number;
  readonly #weights: ModelWeights;
  readonly #owned: DisposableStack;
  readonly #buffers: Buffers;
  /** Of the rotations that depend on no length. */
  readonly #inverseFrequencies: readonly Tensor[];
  /** Of the last layers only. */
  readonly #logits: Tensor | undefined;
  readonly #views = new Map<number, Buffers>();

  /** @throws {KernelError} If there is not enough memory. */
  constructor(stage: Stage, options: TransformerOptions) {
    const { config, weights, precision, maxTokens } = options;
    const { device } = stage;
    this.#device = device;
    this.#stage = stage;
    this.#config = config;
    this.#poolOf = poolNumbers(config);
    this.#weights = weights;
    using owned = new DisposableStack();
    const plans = planBuffers(device, { config, precision, tokens: maxTokens });
    const memory = owned.use(Workspace.allocate(device, workspaceBytes(allPlans(plans))));
    this.#buffers = takeBuffers(memory, plans);
    const allocate = (label: string, ...shape: number[]) =>
      owned.use(Tensor.allocate(device, { dtype: "f32", shape, label }));
    this.#inverseFrequencies = config.ropes.map(({ dims }) =>
      allocate("inverse frequencies", dims / 2)
    );
    if (stage.endLayer === config.layerCount) {
      this.#logits = allocate("logits", options.logitRows ?? 1, config.vocabularySize);
    }
    this.#owned = owned.move();
  }

  /** Fills what does not change between chunks; call it once before the first. */
  async prepare(): Promise<void> {
    for (const [i, rope] of this.#config.ropes.entries()) {
      await this.#inverseFrequencies[i]?.writeFrom(inverseFrequencies(rope));
    }
    const { chunkRows } = this.#buffers;
    await chunkRows.writeFrom(consecutive(0, chunkRows.size));
  }

  /** Brings positions and cache rows of a chunk to the device, and what its rotations depend on. */
  async writePlaces(chunk: Chunk): Promise<void> {
    const tokens = chunk.ids.length;
    const { positions, rows: pools, frequencies } = this.#buffersFor(tokens);
    for (const [i, rope] of this.#config.ropes.entries()) {
      await frequencies[i]?.writeFrom(chunkFrequencies(rope, chunk));
    }
    await positions.writeFrom(chunk.positions);
    for (const [pool, rows] of pools.entries()) {
      await rows.writeFrom(chunk.target?.rows[pool] ?? new Int32Array(tokens).fill(-1));
    }
  }

  /** Where the first stage finds the ids of a chunk: [tokens] i32. */
  tokenIds(tokens: number): Tensor {
    return this.#buffersFor(tokens).ids;
  }

  /** Takes over what the layers before have left of a chunk, on another device. */
  continueFrom(before: LayerStage, tokens: number): void {
    const { residual: from } = before.#buffersFor(tokens);
    const { residual: to } = this.#buffersFor(tokens);
    sendTensor({ from, to });
  }

  /** Runs a chunk through the layers: nothing but ops, which a device may record. */
  async run(chunk: Chunk): Promise<void> {
    const { firstLayer, endLayer } = this.#stage;
    const buffers = this.#buffersFor(chunk.ids.length);
    const { ids, residual } = buffers;
    await this.#makeTables(buffers);
    if (firstLayer === 0) {
      const { embeddingScale: scale } = this.#config;
      await embedding(this.#device, { out: residual, table: this.#weights.embedding, ids, scale });
    }
    for (let layer = firstLayer; layer < endLayer; layer++) {
      const weights = this.#layerWeights(layer);
      await this.#attentionInputs(layer, { weights, buffers, chunk });
      chunk.onLayer?.();
      if (chunk.keysOnly && layer === this.#config.layerCount - 1) return;
      await chunk.attention.attend({ layer, q: buffers.q, out: this.#headsOf(buffers.attended) });
      const multiply = productOf(chunk);
      await this.#attentionOutput({ weights, buffers, multiply });
      await this.#feedForward({ weights, buffers, multiply });
    }
  }

  /** The rotations of the chunk's positions: the same for all layers. */
  async #makeTables({ positions, tables, frequencies }: Buffers): Promise<void> {
    for (const [i, rope] of this.#config.ropes.entries()) {
      const table = tables[i];
      const inverseFrequency = frequencies[i] ?? this.#inverseFrequencies[i];
      invariant(table !== undefined && inverseFrequency !== undefined, "a rotation has a table");
      const scale = attentionFactor(rope);
      await ropeTable(this.#device, { table, positions, inverseFrequency, scale });
    }
  }

  /** The logits behind some rows of the last chunk: see `Transformer.logits()`. */
  async logits(rows: { first: number; count: number }): Promise<Tensor> {
    invariant(this.#logits !== undefined, "the last layers have the logits");
    const { first, count } = rows;
    const out = this.#logits.rows(0, count);
    const { residual, normed } = this.#buffers;
    const x = normed.rows(0, count);
    await rmsNorm(this.#device, {
      out: x,
      residual: residual.rows(first, count),
      weight: this.#weights.norm,
      eps: this.#config.residualEps,
    });
    await matmulRows(this.#device, { out, x, weight: this.#weights.head });
    return out;
  }

  #layerWeights(layer: number): LayerWeights {
    const weights = this.#weights.layers[layer];
    invariant(weights !== undefined, "every layer has weights");
    return weights;
  }

  /** Normalizes, projects to queries, keys and values, rotates, and writes to the cache. */
  async #attentionInputs(
    layer: number,
    options: { weights: LayerWeights; buffers: Buffers; chunk: Chunk },
  ): Promise<void> {
    const { weights, buffers, chunk } = options;
    const { queryHeads, kvHeads, ownHeadDim, normEps: eps, layerCount, layers } = this.#config;
    const { qkv } = buffers;
    const x = await this.#inputOf(weights.inputNorm, buffers);
    // The queries' columns are left alone where nobody reads them, as far as panels of weights allow.
    const isUnread = chunk.keysOnly && layer === layerCount - 1;
    const queries = queryHeads * ownHeadDim;
    const start = isUnread ? queries - queries % PANEL_ROWS : 0;
    const [, columns = 0] = qkv.shape;
    const out = qkv.columns(start, columns - start);
    await this.#project(weights.qkv, { out, x, firstRow: start, multiply: productOf(chunk) });
    const norm = async (weight: Tensor | undefined, first: number, count: number) => {
      if (weight === undefined) return;
      await headNorm(this.#device, { x: qkv.columns(first, count), weight, eps });
    };
    if (!isUnread) await norm(weights.queryNorm, 0, queries);
    await norm(weights.keyNorm, queries, kvHeads * ownHeadDim);
    const rotation = layers[layer]?.rope;
    const rows = buffers.rows[this.#poolOf(layer)];
    invariant(rows !== undefined, "a layer's pool has rows");
    await writeCache(this.#device, {
      buffers,
      cache: chunk.target?.layer(layer),
      table: rotation === undefined ? undefined : buffers.tables[rotation],
      rows,
      ...{ qHeads: queryHeads, kvHeads, headDim: ownHeadDim },
    });
  }

  /** The residual stream as the input of products: behind a norm, or as it is. */
  async #inputOf(weight: Tensor | undefined, buffers: Buffers): Promise<Tensor> {
    const { residual, normed: out } = buffers;
    if (weight === undefined) await convert(this.#device, { out, in: residual });
    else await rmsNorm(this.#device, { out, residual, weight, eps: this.#config.residualEps });
    return out;
  }

  /** A product, or its rows from one on: the columns of `out`. */
  async #project(
    product: Product,
    options: {
      out: Tensor;
      x: Tensor;
      firstRow?: number;
      accumulate?: boolean;
      multiply: Multiply;
    },
  ): Promise<void> {
    const { out, firstRow = 0, accumulate = false, multiply } = options;
    const task = { ...options, product, buffers: this.#buffersFor(options.x.shape[0] ?? 0) };
    const x = multiply === matmul ? await roundedInput(this.#device, task) : options.x;
    let row = 0;
    for (const piece of product.pieces) {
      const [rows = 0] = piece.shape;
      const skipped = Math.min(rows, Math.max(0, firstRow - row));
      const count = rows - skipped;
      if (count > 0) {
        await multiply(this.#device, {
          out: out.columns(row + skipped - firstRow, count),
          x,
          weight: piece.rows(skipped, count),
          accumulate,
        });
      }
      row += rows;
    }
    const { bias } = product;
    if (bias !== undefined) {
      await add(this.#device, { out, in: bias.rows(firstRow, bias.size - firstRow) });
    }
  }

  /** Adds to the residual stream what the attention gives. */
  async #attentionOutput(options: LayerCall): Promise<void> {
    const { weights: { output: product, outputNorm }, buffers } = options;
    const x = await this.#withoutPadding(buffers);
    await this.#addProduct({ ...options, product, x, outputNorm });
  }

  /** Adds to the residual stream what the feed-forward part gives. */
  async #feedForward(options: LayerCall): Promise<void> {
    const { weights, buffers, multiply } = options;
    const { gateUp, activated } = buffers;
    const x = await this.#inputOf(weights.mlpNorm, buffers);
    await this.#project(weights.gateUp, { out: gateUp, x, multiply });
    await swiglu(this.#device, { out: activated, gateUp });
    const { down: product, downNorm: outputNorm } = weights;
    await this.#addProduct({ ...options, product, x: activated, outputNorm });
  }

  /** Adds a product to the residual stream, behind a norm if there is one. */
  async #addProduct(
    options: Pick<LayerCall, "buffers" | "multiply"> & {
      product: Product;
      x: Tensor;
      outputNorm: Tensor | undefined;
    },
  ): Promise<void> {
    const { buffers: { residual, added }, product, x, outputNorm: weight, multiply } = options;
    if (weight === undefined) {
      return await this.#project(product, { out: residual, x, accumulate: true, multiply });
    }
    await this.#project(product, { out: added, x, multiply });
    await headNorm(this.#device, { x: added, weight, eps: this.#config.normEps });
    await add(this.#device, { out: residual, in: added });
  }

  /** The attention's output without the zeros behind each head. */
  async #withoutPadding({ attended, unpadded }: Buffers): Promise<Tensor> {
    const { queryHeads, headDim, ownHeadDim } = this.#config;
    if (headDim === ownHeadDim) return attended;
    const [tokens = 0] = attended.shape;
    const heads = tokens * queryHeads;
    await copy(this.#device, {
      out: unpadded.reshape([heads, ownHeadDim]),
      in: attended.reshape([heads, headDim]).columns(0, ownHeadDim),
    });
    return unpadded;
  }

  #headsOf(attended: Tensor): Tensor {
    const [tokens = 0] = attended.shape;
    return attended.reshape([tokens, this.#config.queryHeads, this.#config.headDim]);
  }

  /** The buffers' first rows; made once per length, as decoding uses the same ones again. */
  #buffersFor(tokens: number): Buffers {
    const known = this.#views.get(tokens);
    if (known !== undefined) return known;
    // Lengths other than 1 and the full chunk seldom come back.
    if (this.#views.size > 8) this.#views.clear();
    const { rows, tables, frequencies } = this.#buffers;
    const first = (tensor: Tensor) => tensor.rows(0, tokens);
    const cut = BUFFER_NAMES.map((name) => [name, first(this.#buffers[name])]);
    const views: Buffers = {
      ...Object.fromEntries(cut) as Readonly<Record<BufferName, Tensor>>,
      rows: rows.map(first),
      tables: tables.map(first),
      frequencies: frequencies.map((tensor) => tensor === undefined ? undefined : first(tensor)),
    };
    this.#views.set(tokens, views);
    return views;
  }

  /** Frees the scratch memory; the weights belong to the caller. */
  [Symbol.dispose](): void {
    this.#owned.dispose();
  }
}

/** `count` numbers from `first` on: the positions or rows of consecutive tokens. */
export function consecutive(first: number, count: number): Int32Array<ArrayBuffer> {
  return Int32Array.from({ length: count }, (_, i) => first + i);
}

type Multiply = typeof matmul;

/** How the products of a chunk are made. */
function productOf(chunk: Chunk): Multiply {
  return chunk.isBatch === true ? matmulRows : matmul;
}
