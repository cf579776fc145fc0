/**
 * Random sequences for the tests of attention: queries and caches with more rows than are used.
 *
 * @module
 */
import type { DType } from "../../lib/device/device.ts";
import { isScaled, type KvSegment } from "../../lib/device/kv_segment.ts";
import type { Tensor } from "../../lib/device/tensor.ts";
import { type Random, roundToBf16 } from "./random.ts";
import { makeScaled } from "./scaled_keys.ts";
import type { Bench } from "./twin.ts";

/** The sizes of one sequence. */
export interface SequenceSizes {
  readonly tokens: number;
  readonly keyTokens: number;
  readonly prefixTokens?: number;
  readonly qHeads: number;
  readonly kvHeads: number;
  readonly headDim: 64 | 128;
  readonly kvDtype?: DType;
  /** Tokens of the own segment, counted from its first, that are NaN as well. */
  readonly unread?: (token: number, head: number) => boolean;
  /** Elements of values, of all key heads, that are something else than a small number. */
  readonly oddValues?: readonly OddValue[];
  /** The same of keys. */
  readonly oddKeys?: readonly OddValue[];
  /** The same of queries, of all heads; their tokens are counted from the call's first one. */
  readonly oddQueries?: readonly OddValue[];
}

/** One element of a token's value, key or query. */
export interface OddValue {
  /** Counted from the first of the sequence. */
  readonly token: number;
  readonly dim: number;
  readonly value: number;
}

/** Queries and their keys and values. */
export interface Sequence {
  readonly q: Tensor;
  readonly keys: KvSegment;
  readonly prefix: KvSegment | undefined;
  readonly scale: number;
}

/** Rows of a cache in front of and behind a segment; they hold NaN, as nothing may use them. */
const SPARE_ROWS = { front: 3, behind: 5 } as const;

/** A random sequence. */
export async function makeSequence(bench: Bench, sizes: SequenceSizes): Promise<Sequence> {
  const { keyTokens, prefixTokens = 0, headDim } = sizes;
  const prefix = prefixTokens === 0
    ? undefined
    : await makeSegment(bench, "prefix", { ...sizes, keyTokens: prefixTokens, offset: 0 });
  return {
    q: await makeQueries(bench, sizes),
    keys: await makeSegment(bench, "keys", { ...sizes, keyTokens, offset: prefixTokens }),
    prefix,
    scale: headDim ** -0.5,
  };
}

async function makeQueries(bench: Bench, sizes: SequenceSizes): Promise<Tensor> {
  const { tokens, qHeads, headDim, oddQueries } = sizes;
  const shape = [tokens, qHeads, headDim];
  if (oddQueries === undefined) return await bench.queries("q", shape);
  return await bench.data("q", {
    dtype: bench.device.queryDtype,
    shape,
    make: (count, random) => {
      const values = random.floats(count, 1);
      for (const { token, dim, value } of oddQueries) {
        for (let head = 0; head < qHeads; head++) {
          values[(token * qHeads + head) * headDim + dim] = value;
        }
      }
      return bench.isForGpu ? roundToBf16(values) : values;
    },
  });
}

/** A segment inside a cache; `offset` is the sequence's number of its first token. */
export async function makeSegment(
  bench: Bench,
  label: string,
  sizes: SequenceSizes & { readonly offset: number },
): Promise<KvSegment> {
  const { keyTokens, kvHeads, headDim, unread = () => false, offset } = sizes;
  const { oddValues = [], oddKeys = [] } = sizes;
  const capacity = keyTokens + SPARE_ROWS.front + SPARE_ROWS.behind;
  const makeOf = (odds: typeof oddValues) => (count: number, random: Random) => {
    const values = random.floats(count, 1);
    for (let row = 0; row < kvHeads * capacity; row++) {
      const token = row % capacity - SPARE_ROWS.front;
      const used = token >= 0 && token < keyTokens &&
        !unread(offset + token, Math.floor(row / capacity));
      if (!used) values.fill(NaN, row * headDim, (row + 1) * headDim);
      for (const odd of odds) {
        if (token >= 0 && odd.token === offset + token) values[row * headDim + odd.dim] = odd.value;
      }
    }
    return values;
  };
  const place = { start: SPARE_ROWS.front, tokens: keyTokens };
  const { kvDtype: wanted = "f32" } = sizes;
  if (isScaled(wanted)) {
    const scaled = { dtype: wanted, kvHeads, rows: capacity, headDim, make: makeOf([]) };
    return { ...await makeScaled(bench, label, scaled), ...place };
  }
  // The tensor cores of a GPU take bf16 alone.
  const dtype = bench.isForGpu ? "bf16" : wanted;
  const shape = [kvHeads, capacity, headDim];
  const cache = (name: string, odds: typeof oddValues): Promise<Tensor> =>
    bench.data(`${label}.${name}`, { dtype, shape, make: makeOf(odds) });
  return { keys: await cache("keys", oddKeys), values: await cache("values", oddValues), ...place };
}
