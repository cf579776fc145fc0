/**
 * Phase 2 of Star Attention (arXiv 2411.17116, section 2.2), the tokens of one query: every rank
 * attends to its own keys and values with all of them, and the ranks' parts are merged.
 *
 * With one rank the part is the result, and nothing is exchanged.
 *
 * @module
 */
import type { KvSegment } from "../device/kv_segment.ts";
import { PerStage, type Stage } from "../device/stages.ts";
import { Tensor } from "../device/tensor.ts";
import { rankScore } from "../ops/rank_score.ts";
import { attentionDecode, DECODE_QUERY_TOKENS } from "../ops/attention_decode.ts";
import { attentionDense } from "../ops/attention_dense.ts";
import { mergeStates, partElements } from "../ops/merge_states.ts";
import type { Collective } from "../parallel/collective.ts";
import { type KeyReader, readKeys } from "./key_reader.ts";
import type { KeepOptions, PooledKeys } from "./chosen_tiles.ts";
import { QueryPieces } from "./query_pieces.ts";
import { type KeyPlace, queryNumber, type WindowOf } from "./window.ts";
import { PartBuffers, splitPart } from "./parts.ts";
import type { MergeRule } from "./plan.ts";
import type { AttentionStrategy, LayerQueries } from "./strategy.ts";

/** Tokens per group of StarXAttention's score of a rank; fixed there. */
export const RANK_SCORE_STRIDE = 16;

/**
 * Whether the ranks' parts of a layer are weighted by StarXAttention's score. It estimates the mass of
 * all of a rank's keys; where a window hides some of them, the parts are merged exactly.
 */
export function isMergedByScore(layer: { merge: MergeRule; window: number }): boolean {
  return layer.merge === "antidiagonal" && layer.window === 0;
}

/** What the attention over all ranks' keys is made of. */
export interface GlobalAttentionOptions {
  readonly collective: Collective;
  readonly merge: MergeRule;
  readonly queryHeads: number;
  readonly headDim: number;
  /** Factor of the logits. */
  readonly scale: number;
  readonly windowOf: WindowOf;
  /** Absent where all keys are read. */
  readonly keep?: KeepOptions | undefined;
  /** Expands keys of 8 bits, for ops that do not read them; absent where all keys are floats. */
  readonly reader?: KeyReader | undefined;
}

/** The keys of one sequence on this rank, as a step's tokens see them. */
export interface RankKeys extends KeyPlace {
  /** The first `tokens` keys of a layer. */
  readonly keys: (layer: number, tokens: number) => KvSegment;
  /** Keys that the step's last token sees; those of the step are in the cache by then. */
  readonly keyCount: number;
  /** Where the step's last token stands in the sequence. */
  readonly lastPosition: number;
  /** Whether the step's own keys are the last ones. */
  readonly isQueryRank: boolean;
  /** Ranks 0 to `rankCount - 1` have keys of the sequence. */
  readonly rankCount: number;
  /** [kv_heads, head_dim]: the mean of the anchor's keys, for merge antidiagonal. */
  readonly anchorMean: (layer: number) => Tensor | undefined;
  /** Where its tiles have means, and those of the context are not all read. */
  readonly pooled?: PooledKeys | undefined;
}

/** Attention of a query's tokens over all ranks' keys; owns the buffers of the exchange. */
export class GlobalAttention implements Disposable {
  readonly #options: GlobalAttentionOptions;
  readonly #owned: DisposableStack;
  readonly #keyCounts: PerStage<Tensor>;
  /** Of one rank alone, which computes its part as several do: so tokens do not depend on them. */
  readonly #lse: PerStage<Tensor> | undefined;
  readonly #parts: PartBuffers | undefined;
  readonly #pieces: QueryPieces | undefined;

  /** @param sizes The longest chunk, and how many ranks have keys of the sequence. */
  constructor(
    stages: readonly Stage[],
    options: GlobalAttentionOptions & { maxTokens: number; rankCount: number },
  ) {
    const { collective, maxTokens: tokens, queryHeads: heads, headDim, rankCount } = options;
    this.#options = options;
    using owned = new DisposableStack();
    this.#keyCounts = new PerStage(
      stages,
      ({ device }) =>
        owned.use(Tensor.allocate(device, { dtype: "i32", shape: [1], label: "key count" })),
    );
    const label = "log-sum-exps";
    this.#lse = rankCount > 1 ? undefined : new PerStage(
      stages,
      ({ device }) =>
        owned.use(Tensor.allocate(device, { dtype: "f32", shape: [tokens, heads], label })),
    );
    const { keep, scale } = options;
    this.#pieces = keep && owned.use(
      new QueryPieces(stages, { ...keep, scale, rank: collective.rank, maxTokens: tokens }),
    );
    const elements = partElements({ tokens, heads, headDim });
    this.#parts = rankCount === 1
      ? undefined
      : owned.use(new PartBuffers(stages, { collective, elements }));
    this.#owned = owned.move();
  }

  /** Brings what a chunk's ops read besides tensors to the devices; before they run. */
  async writeInputs(step: RankKeys & { tokens: number }): Promise<void> {
    await this.#pieces?.writeInputs(step);
    for (const keyCount of this.#keyCounts.all) {
      await keyCount.writeFrom(Int32Array.of(step.keyCount));
    }
  }

  /** The strategy of one chunk of the query. */
  step(step: RankKeys): AttentionStrategy {
    return { attend: (queries) => this.#attend(queries, step) };
  }

  async #attend(queries: LayerQueries, step: RankKeys): Promise<void> {
    const { q, out, layer } = queries;
    const [tokens = 0] = q.shape;
    if (this.#parts === undefined) {
      const lse = this.#lse?.of(layer).rows(0, tokens);
      return await this.#local({ queries, step, out, lse });
    }
    const { queryHeads: heads, headDim, merge } = this.#options;
    const sizes = { tokens, heads, headDim };
    const length = partElements(sizes);
    const part = splitPart(this.#parts.part(layer, length), sizes);
    await this.#local({ queries, step, out: part.out, lse: part.lse });
    const byScore = isMergedByScore({ merge, window: this.#options.windowOf(layer) });
    const anchorMean = step.anchorMean(layer);
    // The part of a rank without blocks is not merged.
    if (byScore && anchorMean !== undefined) {
      const { scale, reader } = this.#options;
      const { score } = part;
      // Keys behind as many as there are tokens play no part.
      const seen = reader === undefined ? step.keyCount : Math.min(tokens, step.keyCount);
      const segments = { keys: step.keys(layer, seen) };
      const { keys } = await readKeys(reader, layer, segments);
      await rankScore(q.device, { score, q, anchorMean, keys, stride: RANK_SCORE_STRIDE, scale });
    }
    const parts = (await this.#parts.gather(layer, length)).rows(0, step.rankCount);
    await mergeStates(q.device, { out, parts, byScore, ...sizes });
  }

  /** This rank's part; a rank without keys gives zeros with a log-sum-exp of -inf. */
  async #local(
    options: { queries: LayerQueries; step: RankKeys; out: Tensor; lse: Tensor | undefined },
  ): Promise<void> {
    const { queries: { q, layer }, step, out, lse } = options;
    const { scale, windowOf, reader } = this.#options;
    const { device } = q;
    const [tokens = 0] = q.shape;
    const window = windowOf(layer);
    if (window === 0 && this.#pieces !== undefined) {
      return await this.#pieces.attend({ layer, q, out, lse }, step);
    }
    const keys = step.keys(layer, step.keyCount);
    if (window > 0 && window <= step.lastPosition) {
      const qOffset = queryNumber(step, step.lastPosition + 1 - tokens);
      const { prefixGap, ...segments } = splitKeys(keys, step);
      const read = await readKeys(reader, layer, segments);
      const place = { ...read, prefixGap, qOffset };
      return await attentionDense(device, { out, lse, q, ...place, scale, window });
    }
    if (tokens <= DECODE_QUERY_TOKENS) {
      const keyCount = this.#keyCounts.of(layer);
      const causal = step.isQueryRank;
      return await attentionDecode(device, { out, lse, q, keys, keyCount, causal, scale });
    }
    const qOffset = step.isQueryRank ? keys.tokens - tokens : keys.tokens;
    const read = await readKeys(reader, layer, { keys });
    await attentionDense(device, { out, lse, q, ...read, qOffset, scale });
  }

  /** Frees the buffers; a second call does nothing. */
  [Symbol.dispose](): void {
    this.#owned.dispose();
  }
}

/** The keys before and behind the gap in their positions. */
function splitKeys(
  keys: KvSegment,
  { prefixTokens, prefixGap }: KeyPlace,
): { keys: KvSegment; prefix?: KvSegment; prefixGap?: number } {
  if (prefixGap === 0) return { keys };
  const { start, tokens, absent = 0 } = keys;
  const before = Math.min(absent, prefixTokens);
  const own = { start: start + prefixTokens, tokens: tokens - prefixTokens };
  return {
    keys: { ...keys, ...own, absent: absent - before },
    prefix: { ...keys, tokens: prefixTokens, absent: before },
    prefixGap,
  };
}
