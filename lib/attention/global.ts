/**
 * Phase 2 of Star Attention (arXiv 2411.17116, section 2.2): every host attends to its own keys and
 * values with all query tokens, and the hosts' parts are merged.
 *
 * With one host the part is the result, and nothing is exchanged.
 *
 * @module
 */
import type { Collective } from "../collective/collective.ts";
import { gatherTensors } from "../collective/tensors.ts";
import type { Device } from "../device/device.ts";
import type { KvSegment } from "../device/kv_segment.ts";
import { Tensor } from "../device/tensor.ts";
import { hostScore } from "../ops/antidiagonal_score.ts";
import { attentionDecode, DECODE_QUERY_TOKENS } from "../ops/attention_decode.ts";
import { attentionDense } from "../ops/attention_dense.ts";
import { mergeStates, partElements } from "../ops/merge_states.ts";
import type { MergeRule } from "./plan.ts";
import type { AttentionStrategy, LayerQueries } from "./strategy.ts";

/** Tokens per group of the seed's host score; fixed there. */
const HOST_SCORE_STRIDE = 16;

/** What stays the same over all steps of one sample. */
export interface GlobalAttentionOptions {
  readonly collective: Collective;
  /** Ranks 0 to hostCount - 1 hold keys; the last of them is the query host. */
  readonly hostCount: number;
  readonly merge: MergeRule;
  readonly queryHeads: number;
  readonly headDim: number;
  readonly scale: number;
  /** The longest step. */
  readonly maxTokens: number;
  /** [kv_heads, head_dim] per layer: the mean of the anchor's keys; for merge antidiagonal. */
  readonly anchorMeans: readonly Tensor[];
}

/** The keys of a step on this host. */
export interface StepKeys {
  /** All rows of this host that a query may see; for few queries also more, see `keyCount`. */
  readonly keys: (layer: number) => KvSegment;
  /** Rows of this host that the queries see. */
  readonly keyCount: number;
  /** Whether the queries' own keys are the last rows. */
  readonly isQueryHost: boolean;
}

/** Attention over all hosts' keys; owns the buffers of the exchange. */
export class GlobalAttention implements Disposable {
  readonly #device: Device;
  readonly #options: GlobalAttentionOptions;
  readonly #keyCount: Tensor;
  readonly #part: Tensor | undefined;
  readonly #parts: Tensor | undefined;
  /** Of one host alone, which computes its part as several do: so tokens do not depend on them. */
  readonly #lse: Tensor | undefined;
  /** What the device has as key count. */
  #writtenCount = -1;

  constructor(device: Device, options: GlobalAttentionOptions) {
    this.#device = device;
    this.#options = options;
    this.#keyCount = Tensor.allocate(device, { dtype: "i32", shape: [1], label: "key count" });
    if (options.hostCount === 1) {
      const shape = [options.maxTokens, options.queryHeads];
      this.#lse = Tensor.allocate(device, { dtype: "f32", shape, label: "log-sum-exps" });
      return;
    }
    const length = partElements({
      tokens: options.maxTokens,
      heads: options.queryHeads,
      headDim: options.headDim,
    });
    const make = (label: string, count: number) =>
      Tensor.allocate(device, { dtype: "f32", shape: [count * length], label });
    this.#part = make("own part", 1);
    this.#parts = make("parts of all hosts", options.collective.size);
  }

  /** Brings what a step's ops read besides tensors to the device; before they run. */
  async writeInputs(step: StepKeys): Promise<void> {
    if (step.keyCount === this.#writtenCount) return;
    await this.#keyCount.writeFrom(Int32Array.of(step.keyCount));
    this.#writtenCount = step.keyCount;
  }

  /** The strategy of one step: some query tokens, or one generated token. */
  step(keys: StepKeys): AttentionStrategy {
    return { attend: (queries) => this.#attend(queries, keys) };
  }

  async #attend(queries: LayerQueries, step: StepKeys): Promise<void> {
    const { q, out } = queries;
    const [tokens = 0] = q.shape;
    if (this.#part === undefined || this.#parts === undefined) {
      await this.#local({ queries, step, out, lse: this.#lse?.rows(0, tokens) });
      return;
    }
    const { collective, hostCount, queryHeads: heads, headDim, merge } = this.#options;
    const length = partElements({ tokens, heads, headDim });
    const part = this.#part.rows(0, length);
    const rows = tokens * heads;
    const partOut = part.rows(0, rows * headDim).reshape([tokens, heads, headDim]);
    const lse = part.rows(rows * headDim, rows).reshape([tokens, heads]);
    const score = part.rows(rows * (headDim + 1), heads);
    await this.#local({ queries, step, out: partOut, lse });
    if (merge === "antidiagonal") await this.#score({ queries, step, score });
    const parts = this.#parts.rows(0, collective.size * length);
    await gatherTensors(collective, { part, out: parts });
    await mergeStates(this.#device, {
      out,
      parts: parts.rows(0, hostCount * length).reshape([hostCount, length]),
      byScore: merge === "antidiagonal",
      tokens,
      heads,
      headDim,
    });
  }

  /** This host's part; a host without keys gives zeros with a log-sum-exp of -inf. */
  async #local(
    options: { queries: LayerQueries; step: StepKeys; out: Tensor; lse: Tensor | undefined },
  ): Promise<void> {
    const { queries, step, out, lse } = options;
    const { q, layer } = queries;
    const { scale } = this.#options;
    const keys = step.keys(layer);
    const [tokens = 0] = q.shape;
    if (tokens <= DECODE_QUERY_TOKENS) {
      const keyCount = this.#keyCount;
      const causal = step.isQueryHost;
      await attentionDecode(this.#device, { out, lse, q, keys, keyCount, causal, scale });
      return;
    }
    const qOffset = step.isQueryHost ? keys.tokens - tokens : keys.tokens;
    await attentionDense(this.#device, { out, lse, q, keys, qOffset, scale });
  }

  async #score(
    options: { queries: LayerQueries; step: StepKeys; score: Tensor },
  ): Promise<void> {
    const { queries, step, score } = options;
    const anchorMean = this.#options.anchorMeans[queries.layer];
    // A rank without blocks is no host: its part is not merged.
    if (anchorMean === undefined) return;
    await hostScore(this.#device, {
      score,
      q: queries.q,
      anchorMean,
      keys: step.keys(queries.layer),
      stride: HOST_SCORE_STRIDE,
      scale: this.#options.scale,
    });
  }

  /** Frees the buffers; a second call does nothing. */
  [Symbol.dispose](): void {
    this.#keyCount[Symbol.dispose]();
    this.#part?.[Symbol.dispose]();
    this.#lse?.[Symbol.dispose]();
    this.#parts?.[Symbol.dispose]();
  }
}
