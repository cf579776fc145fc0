/**
 * What the forward pass asks of an attention mode.
 *
 * @module
 */
import type { PerStage } from "../device/stages.ts";
import type { Tensor } from "../device/tensor.ts";

/** One layer's queries, already rotated; the layer's new keys and values are in the cache. */
export interface LayerQueries {
  readonly layer: number;
  /** [tokens, q_heads, head_dim], f32 on the CPU, else bf16. */
  readonly q: Tensor;
  /** [tokens, q_heads, head_dim], receives the attention's output. */
  readonly out: Tensor;
}

/** Attention of some tokens over what an implementation lets them see. */
export interface AttentionStrategy {
  attend(queries: LayerQueries): Promise<void>;
}

/** The strategies of several devices as one: each is asked for the layers that lie there. */
export function attentionOf(stages: PerStage<AttentionStrategy>): AttentionStrategy {
  return { attend: (queries) => stages.of(queries.layer).attend(queries) };
}
