/**
 * Exact causal attention with log-sum-exp (arXiv 2205.14135): `sx_attention_dense`.
 *
 * @module
 */
import type { Device } from "../device/device.ts";
import type { AttentionDenseParams } from "../ffi/attention_params.ts";
import { DTYPE_CODES } from "../ffi/status.ts";
import {
  type AttentionArguments,
  type AttentionSizes,
  checkAttention,
  checkAttentionOutputs,
} from "./attention_arguments.ts";
import { bytesOf, OpCheck, shapesOf } from "./op_check.ts";

/**
 * out[t,h] = softmax(scale * q[t,h] . k[j]) over the keys j <= qOffset + t, times their values.
 *
 * @throws {TypeError} If a dtype or rank is wrong or a tensor is disposed.
 * @throws {RangeError} If extents do not fit.
 */
export async function attentionDense(device: Device, args: AttentionArguments): Promise<void> {
  const check = new OpCheck(device, "attentionDense");
  const { out, q, lse, keys } = args;
  const sizes = checkAttention(check, { ...args, device });
  await device.kernels.run("sx_attention_dense", denseParams(check, { args, sizes }), {
    flops: 4 * sizes.headDim * sizes.qHeads * sizes.visiblePairs,
    bytes: bytesOf(out, q),
    shapes: shapesOf({ out, lse, q, keys: keys.keys, prefix: args.prefix?.keys }),
  });
}

/** What dense attention takes, the outputs checked. */
export function denseParams(
  check: OpCheck,
  call: { readonly args: AttentionArguments; readonly sizes: AttentionSizes },
): AttentionDenseParams {
  const { args, sizes } = call;
  check.cacheDtype("keys", args.keys);
  return {
    ...checkAttentionOutputs(check, args),
    q: sizes.q,
    qDtype: DTYPE_CODES[args.q.dtype],
    kv: sizes.kv,
    qTokens: sizes.tokens,
    qOffset: sizes.qOffset,
    qHeads: sizes.qHeads,
    window: sizes.window,
    scale: check.finite("scale", args.scale),
  };
}
