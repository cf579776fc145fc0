/**
 * Exact causal attention with log-sum-exp (arXiv 2205.14135): `sx_attention_dense`.
 *
 * @module
 */
import type { Device } from "../device/device.ts";
import { DTYPE_CODES } from "../ffi/status.ts";
import {
  type AttentionArguments,
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
  const { out, lse, q, keys } = args;
  const sizes = checkAttention(check, { ...args, device });
  const { own, prefix } = sizes;
  await device.kernels.run("sx_attention_dense", [
    ...checkAttentionOutputs(check, { out, lse, q }),
    sizes.q,
    own.keys,
    own.values,
    prefix.keys,
    prefix.values,
    DTYPE_CODES[out.dtype],
    DTYPE_CODES[q.dtype],
    DTYPE_CODES[keys.keys.dtype],
    BigInt(sizes.tokens),
    sizes.qOffset,
    BigInt(sizes.keyTokens),
    BigInt(sizes.prefixTokens),
    BigInt(sizes.qHeads),
    BigInt(sizes.kvHeads),
    BigInt(sizes.headDim),
    BigInt(own.tokenStride),
    BigInt(own.headStride),
    BigInt(prefix.tokenStride),
    BigInt(prefix.headStride),
    check.finite("scale", args.scale),
  ], {
    flops: 4 * sizes.headDim * sizes.qHeads * sizes.visiblePairs,
    bytes: bytesOf(out, q),
    shapes: shapesOf({ out, lse, q, keys: keys.keys, prefix: args.prefix?.keys }),
  });
}
