/**
 * Phase 2 of Star Attention (arXiv 2411.17116, section 2.2): every host attends to its own keys and
 * values with all query tokens, and the hosts' parts are merged.
 *
 * With one host the part is the result, and nothing is exchanged.
 *
 * @module
 */
import type { Collective } from "../parallel/collective.ts";
import { type DeviceExchange, exchangeOn, gatherTensors } from "../parallel/device_exchange.ts";
import type { Device } from "../device/device.ts";
import type { KvSegment } from "../device/kv_segment.ts";
import { PerStage, type Stage } from "../device/stages.ts";
import { Tensor } from "../device/tensor.ts";
import { rankScore } from "../ops/rank_score.ts";
import { attentionDecode, DECODE_QUERY_TOKENS } from "../ops/attention_decode.ts";
import { attentionDense } from "../ops/attention_dense.ts";
import { mergeStates, partElements } from "../ops/merge_states.ts";
import type { MergeRule } from "./plan.ts";
import type { AttentionStrategy, LayerQueries } from "./strategy.ts";

/** Tokens per group of StarXAttention's score of a rank; fixed there. */
const RANK_SCORE_STRIDE = 16;

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

/** What the attention has on the device of some layers. */
interface StepBuffers {
  readonly device: Device;
  /** The exchange of that device's memory. */
  readonly exchange: DeviceExchange;
  readonly keyCount: Tensor;
  readonly part: Tensor | undefined;
  readonly parts: Tensor | undefined;
  /** Of one host alone, which computes its part as several do: so tokens do not depend on them. */
  readonly lse: Tensor | undefined;
}

/** Attention over all hosts' keys; owns the buffers of the exchange. */
export class GlobalAttention implements Disposable {
  readonly #options: GlobalAttentionOptions;
  readonly #owned: DisposableStack;
  readonly #buffers: PerStage<StepBuffers>;
  /** What the devices have as key count. */
  #writtenCount = -1;

  constructor(stages: readonly Stage[], options: GlobalAttentionOptions) {
    this.#options = options;
    using owned = new DisposableStack();
    this.#buffers = new PerStage(stages, ({ device }) => makeBuffers(device, { options, owned }));
    this.#owned = owned.move();
  }

  /** Brings what a step's ops read besides tensors to the devices; before they run. */
  async writeInputs(step: StepKeys): Promise<void> {
    if (step.keyCount === this.#writtenCount) return;
    for (const { keyCount } of this.#buffers.all) {
      await keyCount.writeFrom(Int32Array.of(step.keyCount));
    }
    this.#writtenCount = step.keyCount;
  }

  /** The strategy of one step: some query tokens, or one generated token. */
  step(keys: StepKeys): AttentionStrategy {
    return { attend: (queries) => this.#attend(queries, keys) };
  }

  async #attend(queries: LayerQueries, step: StepKeys): Promise<void> {
    const { q, out } = queries;
    const [tokens = 0] = q.shape;
    const buffers = this.#buffers.of(queries.layer);
    if (buffers.part === undefined || buffers.parts === undefined) {
      await this.#local({ queries, step, out, lse: buffers.lse?.rows(0, tokens) });
      return;
    }
    const { hostCount, queryHeads: heads, headDim, merge } = this.#options;
    const { device, exchange } = buffers;
    const length = partElements({ tokens, heads, headDim });
    const part = buffers.part.rows(0, length);
    const rows = tokens * heads;
    const partOut = part.rows(0, rows * headDim).reshape([tokens, heads, headDim]);
    const lse = part.rows(rows * headDim, rows).reshape([tokens, heads]);
    const score = part.rows(rows * (headDim + 1), heads);
    await this.#local({ queries, step, out: partOut, lse });
    if (merge === "antidiagonal") await this.#score({ queries, step, score });
    const parts = buffers.parts.rows(0, exchange.size * length);
    await gatherTensors(exchange, { part, out: parts });
    await mergeStates(device, {
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
    const { device, keyCount } = this.#buffers.of(layer);
    const keys = step.keys(layer);
    const [tokens = 0] = q.shape;
    if (tokens <= DECODE_QUERY_TOKENS) {
      const causal = step.isQueryHost;
      await attentionDecode(device, { out, lse, q, keys, keyCount, causal, scale });
      return;
    }
    const qOffset = step.isQueryHost ? keys.tokens - tokens : keys.tokens;
    await attentionDense(device, { out, lse, q, keys, qOffset, scale });
  }

  async #score(
    options: { queries: LayerQueries; step: StepKeys; score: Tensor },
  ): Promise<void> {
    const { queries, step, score } = options;
    const anchorMean = this.#options.anchorMeans[queries.layer];
    // A rank without blocks is no host: its part is not merged.
    if (anchorMean === undefined) return;
    await rankScore(queries.q.device, {
      score,
      q: queries.q,
      anchorMean,
      keys: step.keys(queries.layer),
      stride: RANK_SCORE_STRIDE,
      scale: this.#options.scale,
    });
  }

  /** Frees the buffers; a second call does nothing. */
  [Symbol.dispose](): void {
    this.#owned.dispose();
  }
}

function makeBuffers(
  device: Device,
  parts: { options: GlobalAttentionOptions; owned: DisposableStack },
): StepBuffers {
  const { options, owned } = parts;
  const { hostCount, maxTokens: tokens, queryHeads: heads, headDim } = options;
  const exchange = exchangeOn(options.collective, device);
  const make = (label: string, ...shape: number[]) =>
    owned.use(Tensor.allocate(device, { dtype: "f32", shape, label }));
  const count = { dtype: "i32", shape: [1], label: "key count" } as const;
  const keyCount = owned.use(Tensor.allocate(device, count));
  const isAlone = hostCount === 1;
  const length = partElements({ tokens, heads, headDim });
  return {
    device,
    exchange,
    keyCount,
    lse: isAlone ? make("log-sum-exps", tokens, heads) : undefined,
    part: isAlone ? undefined : make("own part", length),
    parts: isAlone ? undefined : make("parts of all hosts", exchange.size * length),
  };
}
