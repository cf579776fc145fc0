/**
 * What a rank knows of one sequence: its layout, where its keys and values lie, how long it is.
 *
 * A sequence outlives an answer: `rewind()` forgets query and answer, and the context can be asked
 * again without encoding it again.
 *
 * @module
 */
import { type KeyReader, readKeys } from "../attention/key_reader.ts";
import type { MergeRule } from "../attention/plan.ts";
import { type KeyPlace, keyPlace } from "../attention/window.ts";
import type { KvSegment } from "../device/kv_segment.ts";
import type { Stage } from "../device/stages.ts";
import { Tensor } from "../device/tensor.ts";
import { invariant } from "../errors.ts";
import { TILE_TOKENS } from "../ffi/symbols.ts";
import type { KvRows } from "../model/kv_pools.ts";
import type { RopeLengths } from "../model/rope_frequencies.ts";
import { isMergedByScore } from "../attention/global.ts";
import { type ModelShape, windowsOf } from "../model/model_shape.ts";
import { copy } from "../ops/convert.ts";
import { keyMean } from "../ops/rank_score.ts";
import { type BlockLayout, type ContextBlock, tokensIn } from "./blocks.ts";

/** What a sequence is made of. */
export interface SequenceOptions {
  readonly rank: number;
  readonly layout: BlockLayout;
  readonly contextTokens: number;
  /** Tokens for which the query rank has room behind the context. */
  readonly room: number;
  /** Tokens for which its pages have room besides, for a longer query. @default {0} */
  readonly spareRoom?: number | undefined;
  /** Whether it is asked one query only: see `keptTokens()`. @default {false} */
  readonly isAskedOnce?: boolean | undefined;
  /** What rotations depend on that depend on a length. */
  readonly lengths: RopeLengths;
  /** Pages for this rank's blocks; on the query rank also for the room. */
  readonly rows: KvRows;
  /** Pages for the anchor, on a rank that has blocks, but not block 0. */
  readonly anchorRows: KvRows | undefined;
}

/** Tokens that a sequence needs pages for on a rank: of its blocks with the room, and of its anchor. */
export function sequenceTokens(
  layout: BlockLayout,
  options: { rank: number; room: number },
): { own: number; anchor: number } {
  const { rank, room } = options;
  const blocks = layout.blocksByRank[rank] ?? [];
  const [first] = blocks;
  return {
    own: tokensIn(blocks) + (rank === layout.queryRank ? room : 0),
    anchor: first === undefined || first.index === 0 ? 0 : layout.anchorTokens,
  };
}

/** The row that the first token behind a context has, or would have on a rank with some blocks of it. */
export function queryRow(blocks: readonly ContextBlock[], contextTokens: number): number {
  return tokensIn(blocks) + contextTokens - (blocks.at(-1)?.end ?? contextTokens);
}

/** One sequence on one rank. Disposal gives its pages back. */
export class Sequence implements Disposable {
  readonly layout: BlockLayout;
  /** The blocks of this rank. */
  readonly blocks: readonly ContextBlock[];
  /** Where this rank's keys stand; those of query and answer follow on the context's end. */
  readonly place: KeyPlace;
  readonly contextTokens: number;
  readonly rows: KvRows;
  readonly anchorRows: KvRows | undefined;
  /** Whether this rank keeps the keys of query and answer, and computes the logits. */
  readonly isQueryRank: boolean;
  /**
   * Whether its keys and values may hold what is not finite: nobody has seen a logit of them yet, or
   * one was not. Its pages are zeroed then before others get them.
   */
  isSuspect = true;
  /** By layer. */
  readonly #anchorMeans = new Map<number, Tensor>();
  readonly #isAskedOnce: boolean;
  readonly #pageRoom: number;
  #room: number;
  #lengths: RopeLengths;
  #length = 0;

  constructor(options: SequenceOptions) {
    const { rank, layout } = options;
    this.layout = layout;
    this.blocks = layout.blocksByRank[rank] ?? [];
    this.place = keyPlace(this.blocks);
    this.contextTokens = options.contextTokens;
    this.#room = options.room;
    this.#lengths = options.lengths;
    this.rows = options.rows;
    this.anchorRows = options.anchorRows;
    this.isQueryRank = rank === layout.queryRank;
    this.#isAskedOnce = options.isAskedOnce ?? false;
    this.#pageRoom = options.room + (options.spareRoom ?? 0);
  }

  /** Tokens of query and answer, at most. */
  get room(): number {
    return this.#room;
  }

  /** What rotations depend on that depend on a length. */
  get lengths(): RopeLengths {
    return this.#lengths;
  }

  /** The rank that keeps the keys of query and answer. */
  get queryRank(): number {
    return this.layout.queryRank;
  }

  /** Ranks 0 to `rankCount - 1` have keys of it. */
  get rankCount(): number {
    return this.layout.blocksByRank.length;
  }

  /** Tokens behind the context: of the query and of the answer, as far as they were computed. */
  get length(): number {
    return this.#length;
  }

  /** Context tokens whose keys this rank has. */
  get cachedTokens(): number {
    return tokensIn(this.blocks);
  }

  /** Tiles of 128 keys of the context on this rank that are whole: those that may have a mean. */
  get wholeTiles(): number {
    return Math.floor(this.cachedTokens / TILE_TOKENS);
  }

  /** The row that the first token behind the context has, or would have on this rank. */
  get queryFrom(): number {
    return queryRow(this.blocks, this.contextTokens);
  }

  /** Keys that this rank has, or had. */
  get keyCount(): number {
    return this.cachedTokens + (this.isQueryRank ? this.#length : 0);
  }

  /** The first keys of a layer on this rank. */
  keys(layer: number, tokens: number): KvSegment {
    return this.rows.segment(layer, { start: 0, tokens });
  }

  /** The mean of the anchor's keys of a layer, where the ranks' weights need it. */
  anchorMean(layer: number): Tensor | undefined {
    return this.#anchorMeans.get(layer);
  }

  /** Makes what the merge of the ranks' parts needs of an encoded context. */
  async prepareMerge(
    anchor: ((layer: number) => KvSegment) | undefined,
    options: {
      stages: readonly Stage[];
      config: ModelShape;
      merge: MergeRule;
      reader?: KeyReader | undefined;
    },
  ): Promise<void> {
    const { stages, config, merge, reader } = options;
    const { kvHeads, headDim } = config;
    const windowOf = windowsOf(config);
    if (merge !== "antidiagonal" || this.rankCount === 1 || anchor === undefined) return;
    const label = "mean of the anchor's keys";
    for (const { device, firstLayer, endLayer } of stages) {
      for (let layer = firstLayer; layer < endLayer; layer++) {
        if (!isMergedByScore({ merge, window: windowOf(layer) })) continue;
        const out = Tensor.allocate(device, { dtype: "f32", shape: [kvHeads, headDim], label });
        this.#anchorMeans.set(layer, out);
        const { keys } = await readKeys(reader, layer, { keys: anchor(layer) });
        await keyMean(device, { out, keys });
      }
    }
  }

  /** Counts tokens whose keys a step writes, and makes room for them. */
  async extend(tokens: number): Promise<void> {
    invariant(this.#length + tokens <= this.room, "a sequence has room for what is generated");
    if (this.isQueryRank) {
      const from = this.keyCount;
      // What is asked next begins behind the context again.
      const next = this.#isAskedOnce ? from : this.cachedTokens;
      await this.rows.makeRoom({ from, end: from + tokens, next });
    }
    this.#length += tokens;
  }

  /** Forgets query and answer: the context can be asked anew, whatever they have left. */
  async rewind(): Promise<void> {
    invariant(
      this.#length === 0 || !this.#isAskedOnce,
      "a sequence is asked as often as it was made for",
    );
    if (this.#length > 0 && this.isSuspect) await this.rows.zeroFrom(this.cachedTokens);
    this.#length = 0;
  }

  /**
   * Makes room for another query and answer, if its pages have it: all ranks find the same.
   *
   * @param options As when it was made.
   * @returns Whether they have.
   */
  reuse(options: Pick<SequenceOptions, "room" | "lengths">): boolean {
    if (options.room > this.#pageRoom) return false;
    this.#room = options.room;
    this.#lengths = options.lengths;
    return true;
  }

  /** Takes copies of another sequence's means of the anchor's keys. */
  async copyAnchorMeans(from: Sequence): Promise<void> {
    for (const [layer, mean] of from.#anchorMeans) {
      const { device, dtype, shape } = mean;
      const label = "mean of the anchor's keys";
      const own = Tensor.allocate(device, { dtype, shape, label });
      this.#anchorMeans.set(layer, own);
      await copy(device, { out: own, in: mean });
    }
  }

  /** Gives the pages back; a second call does nothing. */
  [Symbol.dispose](): void {
    for (const rows of [this.rows, this.anchorRows]) {
      if (rows === undefined) continue;
      rows.isSuspect = this.isSuspect;
      rows[Symbol.dispose]();
    }
    for (const mean of this.#anchorMeans.values()) mean[Symbol.dispose]();
  }
}
