/**
 * Exact causal attention over one local sequence.
 *
 * @module
 */
import type { Device } from "../device/device.ts";
import { attentionDense } from "../ops/attention_dense.ts";
import type { SequenceKeys } from "./sequence.ts";
import type { AttentionStrategy } from "./strategy.ts";

/** Every query sees all keys up to its own. */
export function denseAttention(device: Device, keys: SequenceKeys): AttentionStrategy {
  return {
    attend: ({ layer, q, out }) =>
      attentionDense(device, {
        out,
        q,
        keys: keys.own(layer),
        prefix: keys.prefix?.(layer),
        qOffset: keys.qOffset,
        scale: keys.scale,
        window: keys.windowOf(layer),
        prefixGap: keys.prefixGap,
      }),
  };
}
