/**
 * Phase 1 of Star Attention (arXiv 2411.17116, section 2.1): this rank encodes its own blocks, each
 * with the anchor block in front, without a word to the others; or, between GPUs, with the anchor as
 * rank 0 sends it.
 *
 * The anchor's keys and values do not depend on the block behind it, so they are computed once: on
 * the rank of block 0 they are that block's first rows, elsewhere they get pages of their own.
 *
 * @module
 */
import { denseAttention } from "../attention/dense.ts";
import type { KeyReader } from "../attention/key_reader.ts";
import { measuredAttention } from "../attention/measured.ts";
import type { RandomSelection } from "../attention/random_selection.ts";
import type { CheckedPlan } from "../attention/plan.ts";
import { TILE_TOKENS } from "../ffi/symbols.ts";
import type { LoadedHooks } from "../attention/select_module.ts";
import { SelectionBuffers } from "../attention/selection_buffers.ts";
import { attentionOf, type AttentionStrategy } from "../attention/strategy.ts";
import type { SequenceKeys } from "../attention/sequence.ts";
import type { TileRecords } from "../attention/tile_records.ts";
import type { WindowOf } from "../attention/window.ts";
import {
  addCounts,
  selectedAttention,
  type SelectedTiles,
  type TileCount,
} from "../attention/xattention.ts";
import type { Collective } from "../parallel/collective.ts";
import type { KvSegment } from "../device/kv_segment.ts";
import { PerStage, type Stage } from "../device/stages.ts";
import { Tensor } from "../device/tensor.ts";
import { consecutive, type Transformer } from "../model/forward.ts";
import type { KvRows } from "../model/kv_pools.ts";
import { windowsOf } from "../model/model_shape.ts";
import { kvFormat, type Precision } from "../model/precision.ts";
import type { RopeLengths } from "../model/rope_frequencies.ts";
import type { ModelWeights } from "../model/weight_tensors.ts";
import { AnchorStream, arrangeChunks, type ChunkRange, isAnchorSent } from "./anchor_stream.ts";
import type { BlockLayout, ContextBlock } from "./blocks.ts";
import { LanePool } from "./lane_pool.ts";
import { type Lane, runSideBySide } from "./lanes.ts";
import { sequenceChunk } from "./sequence_chunk.ts";
import type { Pauses, Turns } from "./turns.ts";

/** What phase 1 works with. */
export interface Phase1Options {
  /** Where the layers lie. */
  readonly stages: readonly Stage[];
  readonly transformer: Transformer;
  /** The transformer's: a second one may have to run beside it. */
  readonly weights: ModelWeights;
  /** Asked for the rank; sends the anchor where it can. */
  readonly collective: Collective;
  readonly plan: CheckedPlan;
  readonly layout: BlockLayout;
  /** This rank's blocks; none on a rank that has none. */
  readonly blocks: readonly ContextBlock[];
  readonly contextIds: Int32Array;
  /** The lengths of the whole sequence, for rotations that depend on them. */
  readonly lengths: RopeLengths;
  /** Where this rank's keys and values go: from row 0 on, block after block. */
  readonly rows: KvRows;
  /** Where the anchor's go on a rank that has blocks, but not block 0. */
  readonly anchorRows: KvRows | undefined;
  /** Expands keys of 8 bits; absent where keys are read as they are. */
  readonly reader?: KeyReader | undefined;
  readonly precision: Precision;
  /** Used in place of the tiles that the mass selects; for benchmarks. */
  readonly randomTiles?: RandomSelection | undefined;
  /** A selection of one's own. */
  readonly hooks?: LoadedHooks | undefined;
  /** Takes what is asked for of each block's tiles. */
  readonly records?: TileRecords | undefined;
  /** Called after every layer of every chunk with the share of this rank's work that is done. */
  readonly onProgress: (fraction: number) => void;
  /** Asked before a chunk whose end no other rank waits for. */
  readonly turns: Turns;
  /** Made between chunks, but not while the anchor is sent. */
  readonly pauses: Pauses;
}

/** What phase 1 leaves behind besides keys and values; disposal frees what only it needed. */
export interface Phase1Result extends Disposable {
  /** The anchor's keys of a layer; undefined without an anchor or without blocks. */
  readonly anchor: ((layer: number) => KvSegment) | undefined;
  /** Times that the anchor was encoded on its own: not where rank 0 sends it. */
  readonly anchorPasses: number;
  /** Tiles selected, per local sequence and layer. */
  readonly selected: readonly (readonly TileCount[])[];
}

/** A run of tokens to encode as, or as part of, one local sequence. */
interface LocalSequence {
  /** The context block that it is; undefined of the anchor on its own. */
  readonly block?: number;
  readonly ids: Int32Array;
  readonly firstPosition: number;
  readonly target: KvRows;
  readonly firstRow: number;
  readonly prefix: ((layer: number) => KvSegment) | undefined;
  readonly prefixTokens: number;
}

/**
 * Encodes this rank's blocks.
 *
 * @throws {WorkerError} If the anchor is sent and a rank is lost.
 */
export async function encodeBlocks(options: Phase1Options): Promise<Phase1Result> {
  const { blocks, layout, transformer, contextIds, rows, anchorRows, stages, collective } = options;
  const { anchorTokens } = layout;
  const { kvHeads, headDim } = transformer.config;
  using owned = new DisposableStack();
  const anchor = anchorTokens === 0
    ? undefined
    : (layer: number) => (anchorRows ?? rows).segment(layer, { start: 0, tokens: anchorTokens });
  const { dtype } = kvFormat(options.precision);
  const [first] = blocks;
  const isKept = first !== undefined;
  const sizes = { kvHeads, headDim, dtype, anchorTokens, isKept };
  const isSent = isAnchorSent(collective, { layout, stages });
  const next = layout.blocksByRank[1]?.[0]?.start ?? 0;
  if (isSent) await anchorRows?.makeRoom({ from: 0, end: anchorTokens, next });
  const sent = { ...sizes, collective, rows: anchorRows ?? rows, next };
  const stream = isSent ? owned.use(new AnchorStream(stages, sent)) : undefined;
  if (first === undefined) {
    await passAnchor(stream, options);
    const kept = owned.move();
    return {
      ...{ anchor: undefined, anchorPasses: 0, selected: [] },
      [Symbol.dispose]: () => kept.dispose(),
    };
  }
  const encodesAnchor = anchorRows !== undefined && !isSent;
  const encoder = owned.use(new SequenceEncoder(options, { encodesAnchor }));
  if (encodesAnchor) {
    await encoder.encode({
      ids: contextIds.subarray(0, anchorTokens),
      target: anchorRows,
      prefix: undefined,
      ...{ firstPosition: 0, firstRow: 0, prefixTokens: 0 },
    });
  }
  const selected: TileCount[][] = [];
  let firstRow = 0;
  for (const { index, start, end } of blocks) {
    const ids = contextIds.subarray(start, end);
    const prefix = index === 0 ? undefined : anchor;
    const prefixTokens = prefix === undefined ? 0 : anchorTokens;
    const place = { block: index, firstPosition: start, firstRow };
    const sequence = { ...place, ids, target: rows, prefix, prefixTokens };
    selected.push(await encoder.encode(sequence, index === first.index ? stream : undefined));
    firstRow += ids.length;
  }
  const kept = owned.move();
  return {
    anchor,
    anchorPasses: encodesAnchor ? 1 : 0,
    selected,
    [Symbol.dispose]: () => kept.dispose(),
  };
}

/** All that a rank without blocks has to do. */
async function passAnchor(
  stream: AnchorStream | undefined,
  { transformer: { config: { layerCount } }, onProgress }: Phase1Options,
): Promise<void> {
  for (let layer = 0; layer < layerCount; layer++) {
    await stream?.exchange(layer);
    onProgress((layer + 1) / layerCount);
  }
}

/**
 * The tiles selected in the layers of a stage: [chunks * layers of the model, heads * query tiles] i32,
 * a place for each chunk, so that none has to be waited for before the next one is started.
 */
interface StageCounts {
  readonly stage: Stage;
  readonly counts: Tensor;
}

/** Runs local sequences through the model in chunks. */
class SequenceEncoder implements Disposable {
  readonly #options: Phase1Options;
  readonly #owned = new DisposableStack();
  readonly #buffers: SelectionBuffers | undefined;
  readonly #lanes: LanePool;
  readonly #chunkTokens: number;
  readonly #scale: number;
  readonly #windowOf: WindowOf;
  /** Tokens times layers, done and to do. */
  #done = 0;
  #chunksBegun = 0;
  readonly #total: number;

  constructor(options: Phase1Options, work: { encodesAnchor: boolean }) {
    const { transformer, plan, blocks, layout, stages } = options;
    const { layerCount, queryHeads, kvHeads, headDim, attentionScale } = transformer.config;
    this.#options = options;
    this.#scale = attentionScale;
    this.#windowOf = windowsOf(options.transformer.config);
    this.#chunkTokens = sequenceChunk(transformer.maxTokens);
    const lengths = blocks.map((block) => block.end - block.start);
    const own = lengths.reduce((sum, length) => sum + length, 0);
    const tokens = own + (work.encodesAnchor ? layout.anchorTokens : 0);
    this.#total = Math.max(1, tokens * layerCount);
    const sizes = {
      ...{ queryHeads, kvHeads, headDim, outDtype: options.precision.activations },
      queryTokens: this.#chunkTokens,
      keyTokens: layout.anchorTokens + Math.max(...lengths),
    };
    this.#buffers = plan.selection && this.#owned.use(
      new SelectionBuffers(stages, plan.selection, sizes),
    );
    this.#lanes = this.#owned.use(new LanePool(options));
  }

  /**
   * Encodes one sequence.
   *
   * @param stream Of the anchor, which is sent or received meanwhile.
   * @returns The tiles selected per layer, or nothing in dense modes.
   */
  async encode(sequence: LocalSequence, stream?: AnchorStream): Promise<TileCount[]> {
    const { transformer, collective: { rank }, layout: { anchorTokens } } = this.#options;
    // The last layer's attention is not needed: only its keys and values are kept.
    const layers = transformer.config.layerCount - 1;
    const counts = this.#buffers === undefined
      ? []
      : Array.from({ length: layers }, () => ({ selected: 0, causal: 0, heads: [] }));
    const chunks: ChunkRange[] = [];
    for (let begin = 0; begin < sequence.ids.length; begin += this.#chunkTokens) {
      chunks.push({ begin, end: Math.min(begin + this.#chunkTokens, sequence.ids.length) });
    }
    using owned = new DisposableStack();
    const selected = this.#newCounts(chunks.length, owned);
    let isAnchorAwaited = stream !== undefined;
    const makeRoom = ({ begin, end }: ChunkRange) =>
      sequence.target.makeRoom({ from: sequence.firstRow + begin, end: sequence.firstRow + end });
    const one = async (chunk: ChunkRange, index = 0, lane?: Lane): Promise<void> => {
      if (!isAnchorAwaited) this.#options.turns.checkpoint();
      if (this.#chunksBegun++ > 0 && stream === undefined) await this.#options.pauses.next();
      await makeRoom(chunk);
      await this.#run(sequence, {
        chunk,
        transformer: this.#lanes.at(index),
        counts: selected,
        lane,
      });
    };
    const isAhead = ({ begin }: ChunkRange) => begin < anchorTokens;
    const lanes = stream && await this.#lanes.open(chunks.filter(isAhead).length);
    const { before, together, after } = lanes === undefined
      ? { before: chunks, together: [], after: [] }
      : arrangeChunks(chunks, { rank, anchorTokens, lanes });
    for (const chunk of before) await one(chunk);
    if (stream !== undefined) {
      await makeRoom({ begin: together[0]?.begin ?? 0, end: together.at(-1)?.end ?? 0 });
      await runSideBySide(
        together.map((chunk, index) => (lane) => one(chunk, index, lane)),
        { layerCount: layers + 1, onKeys: (layer) => stream.exchange(layer) },
      );
      isAnchorAwaited = false;
    }
    for (const chunk of after) await one(chunk);
    for (const chunk of chunks) {
      await this.#addCounts(sequence, { ...chunk, counts: selected, total: counts });
    }
    return counts;
  }

  /** Runs a chunk through all layers. */
  async #run(
    sequence: LocalSequence,
    options: {
      chunk: ChunkRange;
      transformer: Transformer;
      counts: PerStage<StageCounts> | undefined;
      lane: Lane | undefined;
    },
  ): Promise<void> {
    const { chunk: { begin, end }, transformer, counts, lane } = options;
    const { ids, firstPosition, target, firstRow } = sequence;
    const attention = this.#attention(sequence, { begin, end, counts });
    await transformer.forward({
      ids: ids.subarray(begin, end),
      positions: consecutive(firstPosition + begin, end - begin),
      target: {
        layer: (layer) => target.layer(layer),
        rows: target.origins.map((row) => consecutive(row + firstRow + begin, end - begin)),
      },
      attention: lane === undefined ? attention : lane.inTurns(attention),
      keysOnly: true,
      lengthsOf: () => this.#options.lengths,
      onLayer: () => {
        this.#done += end - begin;
        this.#options.onProgress(Math.min(1, this.#done / this.#total));
      },
    });
  }

  #newCounts(chunkCount: number, owned: DisposableStack): PerStage<StageCounts> | undefined {
    if (this.#buffers === undefined) return undefined;
    const { stages, transformer: { config: { layerCount } } } = this.#options;
    const shape = [chunkCount * layerCount, this.#buffers.countWidth];
    const label = "selected tiles per row";
    return new PerStage(stages, (stage) => ({
      stage,
      counts: owned.use(Tensor.allocate(stage.device, { dtype: "i32", shape, label })),
    }));
  }

  /** The first row of a chunk's counts. */
  #countsRow(chunk: { begin: number }): number {
    return chunk.begin / this.#chunkTokens * this.#options.transformer.config.layerCount;
  }

  async #addCounts(
    sequence: LocalSequence,
    chunk: ChunkRange & {
      counts: PerStage<StageCounts> | undefined;
      total: readonly TileCount[];
    },
  ): Promise<void> {
    const { begin, end, total } = chunk;
    const row = this.#countsRow(chunk);
    for (const { counts, stage: { firstLayer, endLayer } } of chunk.counts?.all ?? []) {
      await addCounts(total.slice(firstLayer, endLayer), {
        counts: counts.rows(row + firstLayer, endLayer - firstLayer),
        queryHeads: this.#options.transformer.config.queryHeads,
        qOffset: sequence.prefixTokens + begin,
        queryTokens: end - begin,
        firstLayer,
        placeOf: (layer) => ({
          window: this.#windowOf(layer),
          prefixTokens: sequence.prefixTokens,
          prefixGap: gapOf(sequence),
        }),
      });
    }
  }

  #attention(
    sequence: LocalSequence,
    chunk: ChunkRange & { counts: PerStage<StageCounts> | undefined },
  ): AttentionStrategy {
    const { stages, randomTiles, hooks, transformer, records } = this.#options;
    const { block } = sequence;
    const firstRow = chunk.begin / TILE_TOKENS;
    // The rows of an anchor on its own are those of block 0, which another rank records.
    const { masks, curves } = block === undefined ? {} : records ?? {};
    const onTiles = masks === undefined || block === undefined
      ? undefined
      : (tiles: SelectedTiles) => masks.add(tiles, { block, firstRow });
    const { layerCount } = transformer.config;
    const keys: SequenceKeys = {
      prefix: sequence.prefix,
      own: (layer) =>
        sequence.target.segment(layer, { start: sequence.firstRow, tokens: chunk.end }),
      qOffset: sequence.prefixTokens + chunk.begin,
      prefixGap: gapOf(sequence),
      windowOf: this.#windowOf,
      scale: this.#scale,
      reader: this.#options.reader,
    };
    return attentionOf(
      new PerStage(stages, ({ device, firstLayer }) => {
        const buffers = this.#buffers?.of(firstLayer);
        const selected = chunk.counts?.of(firstLayer).counts;
        if (buffers === undefined || selected === undefined) return denseAttention(device, keys);
        // An anchor on its own is measured elsewhere, and what is behind it sees it exact.
        if (records?.curves !== undefined && curves === undefined) {
          return denseAttention(device, keys);
        }
        const counts = selected.rows(this.#countsRow(chunk), layerCount);
        if (curves !== undefined) {
          return measuredAttention(device, { keys, stride: buffers.stride, counts, curves });
        }
        const selection = {
          ...{ ...buffers, counts, randomTiles, onTiles, hooks },
          // The anchor is the beginning of block 0, whoever encodes it.
          block: block ?? 0,
        };
        return selectedAttention(device, { keys, selection });
      }),
    );
  }

  [Symbol.dispose](): void {
    this.#owned.dispose();
  }
}

/** Positions between a sequence's prefix, which begins the context, and its own tokens. */
function gapOf({ prefixTokens, firstPosition }: LocalSequence): number {
  return prefixTokens === 0 ? 0 : firstPosition - prefixTokens;
}
