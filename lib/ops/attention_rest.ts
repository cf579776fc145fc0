/**
 * What block-sparse attention did not read, by the means of its tiles: `sx_attention_rest`.
 *
 * @module
 */
import type { Device } from "../device/device.ts";
import type { KvSegment } from "../device/kv_segment.ts";
import type { Tensor } from "../device/tensor.ts";
import { DTYPE_CODES } from "../ffi/status.ts";
import { TILE_TOKENS } from "../ffi/symbols.ts";
import { checkAttentionOutputs, tileCount } from "./attention_arguments.ts";
import { bytesOf, F32, I32, OpCheck, shapesOf } from "./op_check.ts";
import { checkMeans } from "./tile_means.ts";

/** What `attentionRest()` reads and writes. The queries are the sequence's last tokens. */
export interface AttentionRestArguments {
  /** [T, q_heads, head_dim] f32 or bf16; may be `partial`. */
  readonly out: Tensor;
  /** [T, q_heads] f32; may be `partialLse`. */
  readonly lse?: Tensor | undefined;
  /** [T, q_heads, head_dim] f32, as `attentionBlockSparse()` gives it. */
  readonly partial: Tensor;
  /** [T, q_heads] f32, as well. */
  readonly partialLse: Tensor;
  /** [T, q_heads, head_dim] f32 (CPU) or bf16 (CUDA). */
  readonly q: Tensor;
  /** From `tileMeans()`, of the queries' dtype. */
  readonly means: KvSegment;
  /** [q_heads, q_tiles] i32: how many key tiles each row of tiles has read. */
  readonly counts: Tensor;
  /** [q_heads, q_tiles, index_stride] i32: their numbers, ascending. */
  readonly indices: Tensor;
  /** The first query is this key of the sequence, the prefix counted in; a multiple of 128. */
  readonly qOffset: number;
  /** Factor of the logits. */
  readonly scale: number;
  /** A query sees so many positions, its own included; 0 for all before it. @default {0} */
  readonly window?: number | undefined;
  /** Tokens of the prefix, a multiple of 128; for the window. @default {0} */
  readonly prefixTokens?: number | undefined;
  /** Positions between the prefix and the first own key, for the window. @default {0} */
  readonly prefixGap?: number | undefined;
}

/**
 * Adds to each row of tiles the key tiles before its own that it has not read, each as one mean key
 * and one mean value with the weight of 128 keys.
 *
 * @throws {TypeError} If a dtype or rank is wrong or a tensor is disposed.
 * @throws {RangeError} If extents do not fit, or offset or prefix is no multiple of 128.
 * @throws {KernelError} If a count or a tile's number is out of range.
 */
export async function attentionRest(device: Device, args: AttentionRestArguments): Promise<void> {
  const check = new OpCheck(device, "attentionRest");
  const { out, lse, partial, partialLse, q, means, counts, indices, qOffset } = args;
  const { prefixTokens = 0, prefixGap = 0, window: wanted = 0 } = args;
  const [tokens, qHeads, headDim] = check.cube("q", q);
  const [kvHeads] = check.cube("means", means.keys);
  check.extent(
    kvHeads > 0 && qHeads % kvHeads === 0,
    `query heads must be a multiple of the ${kvHeads} key heads`,
    qHeads,
  );
  for (const [name, value] of Object.entries({ qOffset, prefixTokens })) {
    check.integer(name, value, { min: 0 });
    const rule = `'${name}' must be a multiple of ${TILE_TOKENS}`;
    check.extent(value % TILE_TOKENS === 0, rule, value);
  }
  const [qTiles, keyTiles] = [tileCount(tokens), tileCount(qOffset + tokens)];
  const [, , indexStride] = check.cube("indices", indices);
  // The last tile of all is no row's rest.
  const tiles = Math.max(0, keyTiles - 1);
  const mean = checkMeans(check, { means, kvHeads, headDim, tiles });
  check.input("means", means.keys, { dtypes: [device.queryDtype], shape: means.keys.shape });
  check.integer("prefixGap", prefixGap, { min: 0 });
  const window = check.integer("window", wanted, { min: 0 });
  await device.kernels.run("sx_attention_rest", {
    ...checkAttentionOutputs(check, { out, lse, q }),
    partial: check.input("partial", partial, { dtypes: F32, shape: q.shape }),
    partialLseLog2: check.input("partialLse", partialLse, {
      dtypes: F32,
      shape: [tokens, qHeads],
    }),
    q: check.input("q", q, { dtypes: [device.queryDtype], shape: q.shape }),
    qDtype: DTYPE_CODES[q.dtype],
    ...mean,
    counts: check.input("counts", counts, { dtypes: I32, shape: [qHeads, qTiles] }),
    indices: check.input("indices", indices, { dtypes: I32, shape: [qHeads, qTiles, indexStride] }),
    indexStride,
    qTokens: tokens,
    qOffset,
    qHeads,
    kvHeads,
    headDim,
    // One that hides nothing is none.
    window: window >= qOffset + tokens + prefixGap ? 0 : window,
    prefixTokens,
    prefixGap,
    scale: check.finite("scale", args.scale),
  }, {
    flops: 4 * headDim * qHeads * tokens * (qOffset + tokens / 2) / TILE_TOKENS,
    bytes: bytesOf(out, partial, q),
    shapes: shapesOf({ out, lse, partial, partialLse, q, means: means.keys, counts, indices }),
  });
}
