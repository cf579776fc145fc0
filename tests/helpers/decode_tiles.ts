/**
 * Sequences of one cache whose tiles have means: what the ops that choose tiles of a decode step, and
 * read them, are tested on.
 *
 * @module
 */
import type { DType } from "../../lib/device/device.ts";
import { isScaled, type KvSegment } from "../../lib/device/kv_segment.ts";
import type { Tensor } from "../../lib/device/tensor.ts";
import type { CodedMeans } from "../../lib/ops/key_codes.ts";
import type { OddValue } from "./attention.ts";
import { pickRows } from "./company.ts";
import { Random } from "./random.ts";
import { makeScaled } from "./scaled_keys.ts";
import type { Bench } from "./twin.ts";

/** Sizes of all sequences. */
export interface CacheSizes {
  /** Queries of each sequence. */
  readonly tokens: number;
  /** Tiles with a mean of each sequence. */
  readonly pooled: readonly number[];
  /** Keys behind those of each sequence. */
  readonly tails: readonly number[];
  readonly qHeads: number;
  readonly kvHeads: number;
  readonly headDim: 64 | 128;
  readonly kvDtype?: DType;
  /** Elements of keys and of values in floats, of all key heads, that are no small number. */
  readonly oddKeys?: readonly OddElement[];
  readonly oddValues?: readonly OddElement[];
}

/** One element of a token's key or value. */
export interface OddElement extends OddValue {
  readonly sequence: number;
}

/** A tile of a head of a sequence. */
export interface TilePlace {
  readonly sequence: number;
  readonly head: number;
  readonly tile: number;
}

/** Whether a tile is chosen. */
export type IsChosen = (place: TilePlace) => boolean;

/** Some sequences of a cache. */
export interface Cache {
  readonly q: Tensor;
  readonly keys: KvSegment;
  readonly means: CodedMeans;
  readonly firstRow: Tensor;
  readonly keyCount: Tensor;
  readonly pooledTiles: Tensor;
  readonly sequenceCapacity: number;
  readonly scale: number;
}

/** Words of any bits: the range of 32 bits. */
const CODE_WORDS = { low: -(2 ** 31), high: 2 ** 31 - 1 };

/** A choice of about half of the tiles that has nothing to do with their keys. */
export function isInHalf({ sequence, head, tile }: TilePlace): boolean {
  return new Random(1 + tile + 1_000 * head + 100_000 * sequence).below(2) === 0;
}

/** Where the sequences lie: behind a page that nobody has, each with a page more than it fills. */
export function layOutCache(
  sizes: CacheSizes,
): { first: number[]; counts: number[]; rows: number } {
  let rows = 128;
  const counts = sizes.pooled.map((tiles, i) => 128 * tiles + (sizes.tails[i] ?? 0));
  const first = counts.map((count) => {
    const begin = rows;
    rows += 128 * (Math.ceil(count / 128) + 1);
    return begin;
  });
  return { first, counts, rows };
}

/**
 * The sequences `chosen` of a cache: the same numbers whatever others there are.
 *
 * @param options `isChosen`: keys of other tiles, and means of these, are NaN; by default none is.
 */
export async function makeCache(
  bench: Bench,
  options: { sizes: CacheSizes; chosen?: readonly number[]; isChosen?: IsChosen },
): Promise<Cache> {
  const { sizes, isChosen } = options;
  const { tokens, pooled, qHeads, kvHeads, headDim } = sizes;
  const { first, counts, rows } = layOutCache(sizes);
  const { chosen = pooled.map((_, i) => i) } = options;
  const { kvDtype: wanted = "f32" } = sizes;
  // Means are floats, whatever the keys are.
  const meanDtype = bench.isForGpu || isScaled(wanted) ? "bf16" : wanted;
  const ownerOf = (row: number) =>
    first.findIndex((begin, i) => row >= begin && row < begin + (counts[i] ?? 0));
  const readsKey = (head: number, row: number): boolean => {
    const sequence = ownerOf(row);
    const tile = Math.floor((row - (first[sequence] ?? 0)) / 128);
    if (sequence < 0) return false;
    return tile >= (pooled[sequence] ?? 0) || (isChosen?.({ sequence, head, tile }) ?? true);
  };
  const readsMean = (head: number, row: number): boolean => {
    const sequence = ownerOf(128 * row);
    const tile = row - (first[sequence] ?? 0) / 128;
    if (sequence < 0 || tile >= (pooled[sequence] ?? 0)) return false;
    return !(isChosen?.({ sequence, head, tile }) ?? false);
  };
  const make = (label: string, count: number, reads: Reads, odds: readonly OddElement[] = []) =>
    bench.data(label, {
      dtype: meanDtype,
      shape: [kvHeads, count, headDim],
      make: rowMaker({ kvHeads, count, headDim }, reads, placeOdds(odds, first)),
    });
  const makeKeys = async () => {
    if (!isScaled(wanted)) {
      const keys = await make("keys", rows, readsKey, sizes.oddKeys);
      return { keys, values: await make("values", rows, readsKey, sizes.oddValues) };
    }
    const rowsOf = rowMaker({ kvHeads, count: rows, headDim }, readsKey);
    return await makeScaled(bench, "cache", {
      ...{ dtype: wanted, kvHeads, rows, headDim },
      make: rowsOf,
    });
  };
  const pages = rows / 128;
  const every = await bench.queries("q", [pooled.length * tokens, qHeads, headDim]);
  const q = await bench.queries(`q${chosen.length}`, [chosen.length * tokens, qHeads, headDim]);
  const width = tokens * qHeads * headDim;
  await q.writeFrom(pickRows(await every.toFloats(), { chosen, width }));
  return {
    q,
    keys: {
      ...await makeKeys(),
      ...{ start: 0, tokens: rows },
    },
    means: {
      keys: await make("mean keys", pages, readsMean),
      values: await make("mean values", pages, readsMean),
      spread: await bench.floats("spread", [kvHeads, pages, headDim], { dtype: meanDtype }),
      codes: await bench.ints("codes", [kvHeads, rows, headDim / 16], CODE_WORDS),
      ...{ start: 0, tokens: pages },
    },
    firstRow: await integers(bench, "firstRow", chosen.map((i) => first[i] ?? -1)),
    keyCount: await integers(bench, "keyCount", chosen.map((i) => counts[i] ?? -1)),
    pooledTiles: await integers(bench, "pooledTiles", chosen.map((i) => pooled[i] ?? -1)),
    sequenceCapacity: Math.max(0, ...counts),
    scale: headDim ** -0.5,
  };
}

/** Whether a row of a head is read. */
type Reads = (head: number, row: number) => boolean;

/** Elements by their rows of the cache. */
function placeOdds(odds: readonly OddElement[], first: readonly number[]): OddRow[] {
  return odds.map(({ sequence, token, dim, value }) => ({
    ...{ row: (first[sequence] ?? 0) + token, dim, value },
  }));
}

interface OddRow {
  readonly row: number;
  readonly dim: number;
  readonly value: number;
}

/** Random rows; those that are not read are NaN. */
function rowMaker(
  { kvHeads, count, headDim }: { kvHeads: number; count: number; headDim: number },
  reads: Reads,
  odds: readonly OddRow[] = [],
): (size: number, random: Random) => Float32Array<ArrayBuffer> {
  return (size, random) => {
    const values = random.floats(size, 1);
    for (let row = 0; row < kvHeads * count; row++) {
      if (reads(Math.floor(row / count), row % count)) continue;
      values.fill(NaN, row * headDim, (row + 1) * headDim);
    }
    for (const { row, dim, value } of odds) {
      for (let head = 0; head < kvHeads; head++) {
        values[(head * count + row) * headDim + dim] = value;
      }
    }
    return values;
  };
}

/** A tensor of numbers that may differ from call to call. */
export async function integers(
  bench: Bench,
  label: string,
  values: readonly number[],
): Promise<Tensor> {
  const tensor = await bench.ints(`${label}${values.length}`, [values.length], { low: 0, high: 1 });
  await tensor.writeFrom(Int32Array.from(values));
  return tensor;
}

/** The lists of a choice: [sequences, kv_heads], and [sequences, kv_heads, stride]. */
export async function makeLists(
  bench: Bench,
  options: { sizes: CacheSizes; chosen?: readonly number[]; isChosen: IsChosen },
): Promise<{ counts: Tensor; indices: Tensor }> {
  const { sizes: { pooled, kvHeads }, isChosen } = options;
  const { chosen = pooled.map((_, i) => i) } = options;
  const stride = Math.max(0, ...pooled) + 2;
  const counts: number[] = [];
  const indices: number[] = [];
  for (const sequence of chosen) {
    const tiles = Array.from({ length: pooled[sequence] ?? 0 }, (_, tile) => tile);
    for (let head = 0; head < kvHeads; head++) {
      const taken = tiles.filter((tile) => isChosen({ sequence, head, tile }));
      const list = [...taken, ...tiles.filter((tile) => !taken.includes(tile))];
      counts.push(taken.length);
      indices.push(...Array.from({ length: stride }, (_, i) => list[i] ?? -1));
    }
  }
  const shape = [chosen.length, kvHeads];
  return {
    counts: (await integers(bench, "counts", counts)).reshape(shape),
    indices: (await integers(bench, "indices", indices)).reshape([...shape, stride]),
  };
}
