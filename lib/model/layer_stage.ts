/**
 * Consecutive layers of the Llama forward pass on one device, top-down (arXiv 2302.13971;
 * grouped-query attention, arXiv 2305.13245).
 *
 * The residual stream stays in f32. The inputs of matrix products, keys and values are rounded to
 * what the precision says; sums are f32 everywhere.
 *
 * @module
 */
import type { AttentionStrategy } from "../attention/strategy.ts";
import type { Device, DType } from "../device/device.ts";
import { sendTensor } from "../device/send.ts";
import type { Stage } from "../device/stages.ts";
import { Tensor } from "../device/tensor.ts";
import { Workspace, workspaceBytes } from "../device/workspace.ts";
import { invariant } from "../errors.ts";
import { embedding } from "../ops/embedding.ts";
import { matmul } from "../ops/matmul.ts";
import { rmsNorm } from "../ops/rms_norm.ts";
import { rope, ropeTable } from "../ops/rope.ts";
import { swiglu } from "../ops/swiglu.ts";
import type { LayerCache } from "./kv_cache.ts";
import type { ModelShape } from "./model_shape.ts";
import type { Precision } from "./precision.ts";
import { inverseFrequencies } from "./rope_frequencies.ts";
import type { LayerWeights, ModelWeights, Product } from "./weight_tensors.ts";

/** Where the keys and values of a chunk go. */
export interface ChunkTarget {
  /** Keys and values of a layer. */
  readonly layer: (index: number) => LayerCache;
  /** The row of each token, or -1 for one whose keys and values another rank keeps. */
  readonly rows: Int32Array;
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
   * Whether only keys and values are wanted: then the last layer stops after them, and there are
   * no hidden states to read.
   */
  readonly keysOnly: boolean;
  /** Called after every layer. */
  readonly onLayer?: () => void;
}

/** Scratch tensors for chunks of a given length. */
interface Buffers {
  readonly ids: Tensor;
  readonly positions: Tensor;
  readonly rows: Tensor;
  readonly table: Tensor;
  readonly residual: Tensor;
  readonly normed: Tensor;
  readonly qkv: Tensor;
  readonly q: Tensor;
  readonly attended: Tensor;
  readonly gateUp: Tensor;
  readonly activated: Tensor;
}

/** What a transformer and each of its stages are made of. */
export interface TransformerOptions {
  readonly config: ModelShape;
  readonly weights: ModelWeights;
  readonly precision: Precision;
  /** The longest chunk. */
  readonly maxTokens: number;
}

/** Some layers that are ready to run, with the scratch memory that they need. */
export class LayerStage implements Disposable {
  readonly #device: Device;
  readonly #stage: Stage;
  readonly #config: ModelShape;
  readonly #weights: ModelWeights;
  readonly #owned: DisposableStack;
  readonly #buffers: Buffers;
  readonly #inverseFrequency: Tensor;
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
    this.#weights = weights;
    using owned = new DisposableStack();
    const plans = bufferPlans(device, { config, precision, tokens: maxTokens });
    const memory = owned.use(Workspace.allocate(device, workspaceBytes(Object.values(plans))));
    this.#buffers = takeBuffers(memory, plans);
    const allocate = (label: string, ...shape: number[]) =>
      owned.use(Tensor.allocate(device, { dtype: "f32", shape, label }));
    this.#inverseFrequency = allocate("inverse frequencies", config.rope.dims / 2);
    if (stage.endLayer === config.layerCount) {
      this.#logits = allocate("logits", 1, config.vocabularySize);
    }
    this.#owned = owned.move();
  }

  /** Fills what does not change between chunks; call it once before the first. */
  async prepare(): Promise<void> {
    await this.#inverseFrequency.writeFrom(inverseFrequencies(this.#config.rope));
  }

  /** Brings positions and cache rows of a chunk to the device. */
  async writePlaces(chunk: Chunk): Promise<void> {
    const tokens = chunk.ids.length;
    const { positions, rows } = this.#buffersFor(tokens);
    await positions.writeFrom(chunk.positions);
    await rows.writeFrom(chunk.target?.rows ?? new Int32Array(tokens).fill(-1));
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
    const { ids, positions, table, residual } = buffers;
    await ropeTable(this.#device, { table, positions, inverseFrequency: this.#inverseFrequency });
    if (firstLayer === 0) {
      await embedding(this.#device, { out: residual, table: this.#weights.embedding, ids });
    }
    for (let layer = firstLayer; layer < endLayer; layer++) {
      const weights = this.#layerWeights(layer);
      await this.#attentionInputs(layer, { weights, buffers, chunk });
      chunk.onLayer?.();
      if (chunk.keysOnly && layer === this.#config.layerCount - 1) return;
      await chunk.attention.attend({ layer, q: buffers.q, out: this.#headsOf(buffers.attended) });
      await this.#afterAttention({ weights, buffers });
    }
  }

  /** The logits behind a row of the last chunk: see `Transformer.logits()`. */
  async logits(row: number): Promise<Tensor> {
    const out = this.#logits;
    invariant(out !== undefined, "the last layers have the logits");
    const { residual, normed } = this.#buffers;
    const x = normed.rows(0, 1);
    await rmsNorm(this.#device, {
      out: x,
      residual: residual.rows(row, 1),
      weight: this.#weights.norm,
      eps: this.#config.normEps,
    });
    await matmul(this.#device, { out, x, weight: this.#weights.head });
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
    const { queryHeads, kvHeads, headDim, normEps: eps } = this.#config;
    const { residual, normed: x, qkv } = buffers;
    await rmsNorm(this.#device, { out: x, residual, weight: weights.inputNorm, eps });
    const last = layer === this.#config.layerCount - 1;
    // The queries' columns are left alone where nobody reads them.
    const start = chunk.keysOnly && last ? queryHeads * headDim : 0;
    const [, columns = 0] = qkv.shape;
    const out = qkv.columns(start, columns - start);
    await this.#project(weights.qkv, { out, x, firstRow: start });
    await rope(this.#device, {
      qOut: buffers.q,
      cache: chunk.target?.layer(layer),
      qkv,
      table: buffers.table,
      rows: buffers.rows,
      qHeads: queryHeads,
      kvHeads,
      headDim,
    });
  }

  /** A product, or its rows from one on, which begins a piece: the columns of `out`. */
  async #project(
    product: Product,
    options: { out: Tensor; x: Tensor; firstRow?: number; accumulate?: boolean },
  ): Promise<void> {
    const { out, x, firstRow = 0, accumulate = false } = options;
    let row = 0;
    for (const piece of product.pieces) {
      const [rows = 0] = piece.shape;
      const skipped = Math.min(rows, Math.max(0, firstRow - row));
      const count = rows - skipped;
      if (count > 0) {
        await matmul(this.#device, {
          out: out.columns(row + skipped - firstRow, count),
          x,
          weight: piece.rows(skipped, count),
          accumulate,
        });
      }
      row += rows;
    }
  }

  /** The attention's output projection and the feed-forward part. */
  async #afterAttention(options: { weights: LayerWeights; buffers: Buffers }): Promise<void> {
    const { weights, buffers } = options;
    const { residual, normed, attended, gateUp, activated } = buffers;
    const { normEps: eps } = this.#config;
    await this.#project(weights.output, { out: residual, x: attended, accumulate: true });
    await rmsNorm(this.#device, { out: normed, residual, weight: weights.mlpNorm, eps });
    await this.#project(weights.gateUp, { out: gateUp, x: normed });
    await swiglu(this.#device, { out: activated, gateUp });
    await this.#project(weights.down, { out: residual, x: activated, accumulate: true });
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
    const cut = (name: keyof Buffers) => this.#buffers[name].rows(0, tokens);
    const views: Buffers = {
      ids: cut("ids"),
      positions: cut("positions"),
      rows: cut("rows"),
      table: cut("table"),
      residual: cut("residual"),
      normed: cut("normed"),
      qkv: cut("qkv"),
      q: cut("q"),
      attended: cut("attended"),
      gateUp: cut("gateUp"),
      activated: cut("activated"),
    };
    this.#views.set(tokens, views);
    return views;
  }

  /** Frees the scratch memory; the weights belong to the caller. */
  [Symbol.dispose](): void {
    this.#owned.dispose();
  }
}

/** What a buffer is to be. */
interface BufferPlan {
  readonly label: string;
  readonly dtype: DType;
  readonly shape: readonly number[];
}

/** Bytes of device memory that each device of a transformer needs besides its weights. */
export function transformerBytes(
  device: Pick<Device, "queryDtype">,
  options: { config: ModelShape; precision: Precision; tokens: number },
): number {
  const { vocabularySize } = options.config;
  return workspaceBytes(Object.values(bufferPlans(device, options))) + 4 * vocabularySize;
}

function bufferPlans(
  device: Pick<Device, "queryDtype">,
  options: { config: ModelShape; precision: Precision; tokens: number },
): Readonly<Record<keyof Buffers, BufferPlan>> {
  const { config, precision: { activations }, tokens } = options;
  const { hiddenSize, intermediateSize, queryHeads, kvHeads, headDim, rope } = config;
  invariant(tokens >= 1, "a chunk has at least one token");
  const plan = (label: string, dtype: DType, ...shape: number[]) => ({ label, dtype, shape });
  const { queryDtype } = device;
  return {
    ids: plan("ids", "i32", tokens),
    positions: plan("positions", "i32", tokens),
    rows: plan("cache rows", "i32", tokens),
    table: plan("rotation table", "f32", tokens, rope.dims),
    residual: plan("residual stream", "f32", tokens, hiddenSize),
    normed: plan("normalized input", activations, tokens, hiddenSize),
    qkv: plan("queries, keys, values", "f32", tokens, (queryHeads + 2 * kvHeads) * headDim),
    q: plan("queries", queryDtype, tokens, queryHeads, headDim),
    attended: plan("attention output", activations, tokens, queryHeads * headDim),
    gateUp: plan("gate and up", "f32", tokens, 2 * intermediateSize),
    activated: plan("activated", activations, tokens, intermediateSize),
  };
}

function takeBuffers(
  memory: Workspace,
  plans: Readonly<Record<keyof Buffers, BufferPlan>>,
): Buffers {
  const entries = Object.entries(plans).map(([name, plan]) => [name, memory.take(plan)]);
  return Object.fromEntries(entries) as Readonly<Record<keyof Buffers, Tensor>>;
}

/** `count` numbers from `first` on: the positions or rows of consecutive tokens. */
export function consecutive(first: number, count: number): Int32Array<ArrayBuffer> {
  return Int32Array.from({ length: count }, (_, i) => first + i);
}
