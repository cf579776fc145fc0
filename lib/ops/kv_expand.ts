/**
 * Rows of a cache of 8 bits in floats: `sx_kv_expand`.
 *
 * @module
 */
import { type Device, DTYPE_BYTES } from "../device/device.ts";
import type { KvSegment } from "../device/kv_segment.ts";
import type { Tensor } from "../device/tensor.ts";
import { DTYPE_CODES } from "../ffi/status.ts";
import { EIGHT_BIT_DTYPES } from "./kv_store.ts";
import { F32_OR_BF16, OpCheck, shapesOf } from "./op_check.ts";

/** What `kvExpand()` reads and writes. */
export interface KvExpandArguments {
  /** [kv_heads, rows, head_dim] f32 or bf16 each; rows `start` and on get the segment's tokens. */
  readonly out: { readonly keys: Tensor; readonly values: Tensor; readonly start: number };
  /** Of 8 bits; none of its tokens absent. */
  readonly segment: KvSegment;
}

/**
 * Writes code * scale of all keys and values of a segment.
 *
 * @throws {TypeError} If a dtype or rank is wrong or a tensor is disposed.
 * @throws {RangeError} If extents do not fit.
 */
export async function kvExpand(device: Device, args: KvExpandArguments): Promise<void> {
  const check = new OpCheck(device, "kvExpand");
  const { out, segment } = args;
  const { keys, tokens, absent = 0 } = segment;
  const from = check.segment("segment", segment, { scaled: true });
  const { kvHeads, headDim } = from;
  check.extent(
    EIGHT_BIT_DTYPES.includes(keys.dtype),
    "'segment' must have 8 bits",
    keys.dtype,
  );
  check.extent(absent === 0, "'segment' must have all of its tokens", `${absent} are absent`);
  const [, rows] = check.cube("out.keys", out.keys);
  check.integer("out.start", out.start, { min: 0, max: Math.max(0, rows - tokens) });
  check.extent(tokens <= rows, `'out' must have ${tokens} rows`, rows);
  const to = { dtypes: F32_OR_BF16, shape: [kvHeads, rows, headDim], strided: true };
  const { dtype } = out.keys;
  const skipped = BigInt(out.start * headDim * DTYPE_BYTES[dtype]);
  const outKeys = check.output("out.keys", out.keys, to);
  const outValues = check.output("out.values", out.values, { ...to, dtypes: [dtype] });
  await device.kernels.run("sx_kv_expand", {
    outKeys: outKeys + skipped,
    outValues: outValues + skipped,
    outDtype: DTYPE_CODES[dtype],
    keys: from.keys,
    values: from.values,
    kvDtype: DTYPE_CODES[keys.dtype],
    keyScales: from.keyScales,
    valueScales: from.valueScales,
    tokens,
    kvHeads,
    headDim,
    tokenStride: from.tokenStride,
    headStride: from.headStride,
    scaleHeadStride: from.scaleHeadStride,
    outTokenStride: headDim,
    outHeadStride: out.keys.rowStride,
  }, {
    flops: 2 * kvHeads * tokens * headDim,
    bytes: 2 * kvHeads * tokens * (headDim * (1 + DTYPE_BYTES[dtype]) + DTYPE_BYTES.f32),
    shapes: shapesOf({ out: out.keys, segment: keys }),
  });
}
