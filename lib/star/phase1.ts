/**
 * Phase 1 of Star Attention (arXiv 2411.17116, section 2.1): this host encodes its own blocks, each
 * with the anchor block in front, without a word to the others.
 *
 * The anchor's keys and values do not depend on the block behind it, so they are computed once: on
 * the host of block 0 they are that block's first rows, elsewhere they get a cache of their own.
 *
 * @module
 */
import { denseAttention } from "../attention/dense.ts";
import type { ForcedSelection } from "../attention/forced_selection.ts";
import { type AttentionPlan, isSparse, SPARSE_BLOCK_TOKENS } from "../attention/plan.ts";
import type { AttentionStrategy } from "../attention/strategy.ts";
import type { SequenceKeys } from "../attention/sequence.ts";
import {
  addCounts,
  type BlockCount,
  selectedAttention,
  selectionTensors,
} from "../attention/xattention.ts";
import type { Device } from "../device/device.ts";
import type { KvSegment } from "../device/kv_segment.ts";
import { Tensor } from "../device/tensor.ts";
import { Workspace, workspaceBytes } from "../device/workspace.ts";
import type { Transformer } from "../model/forward.ts";
import { KvCache } from "../model/kv_cache.ts";
import type { BlockLayout, ContextBlock } from "./blocks.ts";

/** What phase 1 works with. */
export interface Phase1Options {
  readonly device: Device;
  readonly transformer: Transformer;
  readonly plan: AttentionPlan;
  readonly layout: BlockLayout;
  /** This host's blocks; none on a rank that is no host. */
  readonly blocks: readonly ContextBlock[];
  readonly contextIds: Int32Array;
  /** This host's keys and values; its rows are filled from 0 on, block after block. */
  readonly cache: KvCache;
  readonly cacheDtype: "bf16" | "f32";
  /** Taken in place of the blocks that the mass selects; for benchmarks. */
  readonly forced?: ForcedSelection | undefined;
  /** Called after every layer of every chunk with the share of this host's work that is done. */
  readonly onProgress: (fraction: number) => void;
}

/** What phase 1 leaves behind besides the filled cache. */
export interface Phase1Result extends Disposable {
  /** The anchor's keys of a layer; undefined without an anchor or without blocks. */
  readonly anchor: ((layer: number) => KvSegment) | undefined;
  /** Times that the anchor was encoded on its own. */
  readonly anchorPasses: number;
  /** Blocks taken, per local sequence and layer. */
  readonly selected: readonly (readonly BlockCount[])[];
}

/** A run of tokens to encode as, or as part of, one local sequence. */
interface Sequence {
  readonly ids: Int32Array;
  readonly firstPosition: number;
  readonly target: KvCache;
  readonly firstRow: number;
  readonly prefix: ((layer: number) => KvSegment) | undefined;
  readonly prefixTokens: number;
}

/** Encodes this host's blocks. */
export async function encodeBlocks(options: Phase1Options): Promise<Phase1Result> {
  const { blocks, layout, transformer, contextIds, cache } = options;
  const { anchorTokens } = layout;
  const first = blocks[0];
  if (first === undefined) {
    return { anchor: undefined, anchorPasses: 0, selected: [], [Symbol.dispose]() {} };
  }
  using encoder = new SequenceEncoder(options);
  const ownsFirstBlock = first.index === 0;
  const needsAnchor = anchorTokens > 0 && !ownsFirstBlock;
  const { layerCount: layers, kvHeads, headDim } = transformer.config;
  const dtype = options.cacheDtype;
  const capacity = anchorTokens;
  const anchorCache = needsAnchor
    ? new KvCache(options.device, { layers, kvHeads, headDim, capacity, dtype })
    : undefined;
  const anchor = anchorTokens === 0
    ? undefined
    : (layer: number) => (anchorCache ?? cache).segment(layer, { start: 0, tokens: anchorTokens });
  try {
    if (anchorCache !== undefined) {
      await encoder.encode({
        ids: contextIds.subarray(0, anchorTokens),
        firstPosition: 0,
        target: anchorCache,
        firstRow: 0,
        prefix: undefined,
        prefixTokens: 0,
      });
    }
    const selected: BlockCount[][] = [];
    let firstRow = 0;
    for (const { index, start, end } of blocks) {
      const ids = contextIds.subarray(start, end);
      const prefix = index === 0 ? undefined : anchor;
      const prefixTokens = prefix === undefined ? 0 : anchorTokens;
      const sequence = { ids, firstPosition: start, target: cache, firstRow, prefix, prefixTokens };
      selected.push(await encoder.encode(sequence));
      firstRow += ids.length;
    }
    return {
      anchor,
      anchorPasses: needsAnchor ? 1 : 0,
      selected,
      [Symbol.dispose]: () => anchorCache?.[Symbol.dispose](),
    };
  } catch (error) {
    anchorCache?.[Symbol.dispose]();
    throw error;
  }
}

/** Draws the blocks that a host's chunks will take, so that no timed run does. */
export async function drawForcedBlocks(
  forced: ForcedSelection,
  options: Pick<Phase1Options, "layout" | "blocks"> & { maxTokens: number; queryHeads: number },
): Promise<void> {
  const { layout, blocks, maxTokens, queryHeads: heads } = options;
  const chunkTokens = sequenceChunk(maxTokens);
  for (const { index, start, end } of blocks) {
    const prefixTokens = index === 0 ? 0 : layout.anchorTokens;
    for (let begin = 0; begin < end - start; begin += chunkTokens) {
      const count = Math.min(chunkTokens, end - start - begin);
      await forced.blocks({
        heads,
        firstBlock: (prefixTokens + begin) / SPARSE_BLOCK_TOKENS,
        queryBlocks: Math.ceil(count / SPARSE_BLOCK_TOKENS),
      });
    }
  }
}

/** Chunks end at block edges, so that a row of blocks is never split between two of them. */
function sequenceChunk(maxTokens: number): number {
  const whole = Math.floor(maxTokens / SPARSE_BLOCK_TOKENS) * SPARSE_BLOCK_TOKENS;
  return Math.max(whole, SPARSE_BLOCK_TOKENS);
}

/** Runs local sequences through the model in chunks. */
class SequenceEncoder implements Disposable {
  readonly #options: Phase1Options;
  readonly #scratch: Workspace | undefined;
  readonly #counts: Tensor | undefined;
  readonly #chunkTokens: number;
  readonly #scale: number;
  readonly #totalTokens: number;
  #doneTokens = 0;

  constructor(options: Phase1Options) {
    const { transformer, plan, blocks, layout, device } = options;
    this.#options = options;
    this.#scale = 1 / Math.sqrt(transformer.config.headDim);
    this.#chunkTokens = sequenceChunk(transformer.maxTokens);
    const lengths = blocks.map((block) => block.end - block.start);
    const own = lengths.reduce((sum, length) => sum + length, 0);
    this.#totalTokens = Math.max(1, own + (blocks[0]?.index === 0 ? 0 : layout.anchorTokens));
    if (!isSparse(plan.mode)) return;
    const shapes = selectionTensors({
      queryHeads: transformer.config.queryHeads,
      queryTokens: this.#chunkTokens,
      keyTokens: layout.anchorTokens + Math.max(...lengths),
    });
    this.#scratch = Workspace.allocate(
      device,
      workspaceBytes([
        { dtype: "f32", shape: shapes.mass },
        { dtype: "i32", shape: shapes.indices },
      ]),
    );
    const [heads = 0, rowBlocks = 0] = shapes.mass;
    this.#counts = Tensor.allocate(device, {
      dtype: "i32",
      shape: [transformer.config.layerCount, heads * rowBlocks],
      label: "selected blocks per row",
    });
  }

  /** Encodes one sequence; returns the blocks taken per layer, or nothing in dense modes. */
  async encode(sequence: Sequence): Promise<BlockCount[]> {
    const { transformer } = this.#options;
    const { ids, firstPosition, target, firstRow } = sequence;
    // The last layer's attention is not needed: only its keys and values are kept.
    const layers = transformer.config.layerCount - 1;
    const counts = this.#scratch === undefined
      ? []
      : Array.from({ length: layers }, () => ({ taken: 0, causal: 0 }));
    for (let begin = 0; begin < ids.length; begin += this.#chunkTokens) {
      const end = Math.min(begin + this.#chunkTokens, ids.length);
      let layersDone = 0;
      await transformer.forward({
        ids: ids.subarray(begin, end),
        firstPosition: firstPosition + begin,
        target: { cache: target, firstRow: firstRow + begin },
        attention: this.#attention(sequence, { begin, end }),
        keysOnly: true,
        onLayer: () => {
          layersDone++;
          const part = (end - begin) * layersDone / (layers + 1);
          this.#options.onProgress(Math.min(1, (this.#doneTokens + part) / this.#totalTokens));
        },
      });
      await this.#addCounts(sequence, { begin, end, total: counts });
      this.#doneTokens += end - begin;
    }
    return counts;
  }

  async #addCounts(
    sequence: Sequence,
    chunk: { begin: number; end: number; total: readonly BlockCount[] },
  ): Promise<void> {
    if (this.#counts === undefined) return;
    const { begin, end, total } = chunk;
    await addCounts(total, {
      counts: this.#counts,
      queryHeads: this.#options.transformer.config.queryHeads,
      qOffset: sequence.prefixTokens + begin,
      queryTokens: end - begin,
    });
  }

  #attention(sequence: Sequence, chunk: { begin: number; end: number }): AttentionStrategy {
    const { device, plan } = this.#options;
    const keys: SequenceKeys = {
      prefix: sequence.prefix,
      own: (layer) =>
        sequence.target.segment(layer, { start: sequence.firstRow, tokens: chunk.end }),
      qOffset: sequence.prefixTokens + chunk.begin,
      scale: this.#scale,
    };
    const [scratch, counts] = [this.#scratch, this.#counts];
    if (scratch === undefined || counts === undefined) return denseAttention(device, keys);
    const { stride, threshold } = plan;
    const { forced } = this.#options;
    return selectedAttention(device, {
      keys,
      selection: { stride, threshold, scratch, counts, forced },
    });
  }

  [Symbol.dispose](): void {
    this.#scratch?.[Symbol.dispose]();
    this.#counts?.[Symbol.dispose]();
  }
}
