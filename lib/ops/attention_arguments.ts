/**
 * What the attention ops have in common: queries against an own and a prefix segment of keys.
 *
 * @module
 */
import type { Device } from "../device/device.ts";
import type { KvSegment, SegmentLayout } from "../device/kv_segment.ts";
import type { Tensor } from "../device/tensor.ts";
import type { KeyValues } from "../ffi/attention_params.ts";
import { DTYPE_CODES } from "../ffi/status.ts";
import { TILE_TOKENS } from "../ffi/symbols.ts";
import { F32, F32_OR_BF16, type OpCheck } from "./op_check.ts";

/** What dense and block-sparse attention read and write. */
export interface AttentionArguments {
  /** [T, q_heads, head_dim] f32 or bf16. */
  readonly out: Tensor;
  /** [T, q_heads] f32, log2 of the sum of exponentials; -inf without a visible key. */
  readonly lse?: Tensor | undefined;
  /** [T, q_heads, head_dim] f32 (CPU) or bf16 (CUDA). */
  readonly q: Tensor;
  /** The keys after the prefix. */
  readonly keys: KvSegment;
  /** The first keys of the sequence; absent if all are in `keys`. */
  readonly prefix?: KvSegment | undefined;
  /** Query i sees the keys j <= qOffset + i, counted from the prefix's first key. */
  readonly qOffset: number;
  /** Factor of the logits, usually 1 / sqrt(head_dim). */
  readonly scale: number;
  /** A query sees so many positions, its own included; 0 for all before it. @default {0} */
  readonly window?: number | undefined;
  /** Positions between the prefix and the first own key, for the window. @default {0} */
  readonly prefixGap?: number | undefined;
}

/** Queries and segments, checked. */
export interface AttentionSizes {
  /** The queries' address. */
  readonly q: bigint;
  /** Both segments; null pointers and strides 0 where there is no prefix. */
  readonly kv: KeyValues;
  readonly tokens: number;
  readonly qHeads: number;
  readonly headDim: number;
  readonly qOffset: number;
  /** 0 where all queries see all keys before them. */
  readonly window: number;
  /** Pairs of a query token and a key that it sees. */
  readonly visiblePairs: number;
}

/** The number of tiles that some tokens fill, the last one partly. */
export function tileCount(tokens: number): number {
  return Math.ceil(tokens / TILE_TOKENS);
}

/**
 * Checks queries and segments.
 *
 * @throws {TypeError} If a dtype or rank is wrong or a tensor is disposed.
 * @throws {RangeError} If extents do not fit.
 */
export function checkAttention(
  check: OpCheck,
  options:
    & Pick<AttentionArguments, "q" | "keys" | "prefix" | "qOffset" | "window" | "prefixGap">
    & { device: Device; scaled?: boolean },
): AttentionSizes {
  const { q, keys, prefix, qOffset, device, window: wanted = 0, prefixGap = 0, scaled } = options;
  const [tokens, qHeads, headDim] = check.cube("q", q);
  const kv = checkSegments(check, { keys, prefix, prefixGap, scaled });
  check.extent(
    kv.headDim === headDim,
    `'keys' must have the queries' head size ${headDim}`,
    kv.headDim,
  );
  check.extent(
    kv.kvHeads > 0 && qHeads % kv.kvHeads === 0,
    `query heads must be a multiple of the ${kv.kvHeads} key heads`,
    qHeads,
  );
  // As it is, though it may hide nothing: which kernel a GPU runs must not depend on the chunk.
  const window = check.integer("window", wanted, { min: 0 });
  const longest = window === 0 ? Infinity : window;
  return {
    q: check.input("q", q, { dtypes: [device.queryDtype], shape: [tokens, qHeads, headDim] }),
    kv,
    tokens,
    qHeads,
    headDim,
    qOffset: check.integer("qOffset", qOffset, { min: 0 }),
    window,
    visiblePairs: tokens *
      Math.min(kv.prefixTokens + keys.tokens, qOffset + (tokens + 1) / 2, longest),
  };
}

/**
 * Checks both segments.
 *
 * @param options `scaled`: whether own keys may have 8 bits.
 * @returns What an op takes of them; null pointers and strides 0 where there is no prefix.
 * @throws {TypeError} If a dtype or rank is wrong or a tensor is disposed.
 * @throws {RangeError} If extents do not fit.
 */
export function checkSegments(
  check: OpCheck,
  options:
    & Pick<AttentionArguments, "keys" | "prefix" | "prefixGap">
    & { scaled?: boolean | undefined },
): KeyValues {
  const { keys, prefix, prefixGap = 0, scaled = false } = options;
  const own = check.segment("keys", keys, { scaled });
  const prefixTokens = prefix?.tokens ?? 0;
  const first = prefix === undefined || prefixTokens === 0
    ? { keys: 0n, values: 0n, tokenStride: 0, headStride: 0 }
    : checkPrefix(check, { prefix, keys, own });
  return {
    keys: own.keys,
    values: own.values,
    prefixKeys: first.keys,
    prefixValues: first.values,
    dtype: DTYPE_CODES[keys.keys.dtype],
    keyTokens: keys.tokens,
    prefixTokens,
    kvHeads: own.kvHeads,
    headDim: own.headDim,
    tokenStride: own.tokenStride,
    headStride: own.headStride,
    prefixTokenStride: first.tokenStride,
    prefixHeadStride: first.headStride,
    prefixGap: check.integer("prefixGap", prefixGap, { min: 0 }),
  };
}

function checkPrefix(
  check: OpCheck,
  options: { prefix: KvSegment; keys: KvSegment; own: SegmentLayout },
): SegmentLayout {
  const { prefix, keys, own } = options;
  const layout = check.segment("prefix", prefix);
  check.extent(
    layout.kvHeads === own.kvHeads && layout.headDim === own.headDim,
    `'prefix' must have ${own.kvHeads} key heads of ${own.headDim}`,
    `${layout.kvHeads} of ${layout.headDim}`,
  );
  if (prefix.keys.dtype !== keys.keys.dtype) {
    throw new TypeError(
      `Cannot run attention as 'prefix' must be ${keys.keys.dtype} as 'keys' is: ` +
        `current value is ${prefix.keys.dtype}`,
    );
  }
  return layout;
}

/**
 * Checks what attention writes.
 *
 * @returns What an op takes of it; a null pointer for an absent lse.
 * @throws {TypeError} If a dtype or rank is wrong or a tensor is disposed.
 * @throws {RangeError} If extents do not fit.
 */
export function checkAttentionOutputs(
  check: OpCheck,
  options: Pick<AttentionArguments, "out" | "lse"> & { q: Tensor },
): { readonly out: bigint; readonly outDtype: number; readonly lseLog2: bigint } {
  const { out, lse, q } = options;
  return {
    out: check.output("out", out, { dtypes: F32_OR_BF16, shape: q.shape }),
    outDtype: DTYPE_CODES[out.dtype],
    lseLog2: lse === undefined
      ? 0n
      : check.output("lse", lse, { dtypes: F32, shape: q.shape.slice(0, 2) }),
  };
}
