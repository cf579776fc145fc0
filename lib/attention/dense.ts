/**
 * Exact causal attention over one local sequence.
 *
 * @module
 */
import type { Device } from "../device/device.ts";
import { attentionDense } from "../ops/attention_dense.ts";
import { readLayer, type SequenceKeys } from "./sequence.ts";
import type { AttentionStrategy } from "./strategy.ts";

/** Every query sees all keys up to its own. */
export function denseAttention(device: Device, keys: SequenceKeys): AttentionStrategy {
  return {
    attend: async ({ layer, q, out }) =>
      await attentionDense(device, {
        out,
        q,
        ...await readLayer(keys, layer),
        qOffset: keys.qOffset,
        scale: keys.scale,
        window: keys.windowOf(layer),
        prefixGap: keys.prefixGap,
      }),
  };
}
