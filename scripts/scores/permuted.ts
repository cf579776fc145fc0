/**
 * Tiles of permuted keys, for `try_scores.ts`: within segments of the keys those that matter come first,
 * so that fewer tiles hold the mass (PBS-Attn, arXiv 2510.21270). The segment of a row's own tile keeps
 * its order, so that no tile but the own one has keys that a query may not see.
 *
 * @module
 */
import type { SelectionInfo, SelectionReader } from "../../mod.ts";
import { dot } from "./dot.ts";

/** Queries and keys of a tile. */
export const TILE = 128;

/** The rows of a call. */
export type Place = Pick<SelectionInfo, "rows" | "columns" | "diagonal" | "reader">;

/** Queries that are scored: one of so many, as in `q16k1`. */
const EVERY = 16;

/** What a tile of queries gives each key, [rows, keys]: of all its queries, and of those that are scored. */
interface Weights {
  readonly exact: Float32Array;
  readonly sampled: Float32Array;
  readonly keys: number;
}

const known = new WeakMap<SelectionReader, Map<number, Promise<Weights>>>();

/** How keys are ordered. */
export interface Permutation {
  /** Tiles of a segment. */
  readonly tiles: number;
  /**
   * By the weights of the call's last tile of queries, summed over the heads that share the keys (`last`),
   * or of all its queries, for each head by itself (`all`), which no program knows beforehand.
   */
  readonly by: "last" | "all" | "none";
}

/** Exact mass and score of the permuted tiles, [rows, columns]. */
export async function permutedMasses(
  head: number,
  place: Place,
  { tiles, by }: Permutation,
): Promise<{ exact: Float32Array; score: Float32Array }> {
  const { rows, columns, diagonal } = place;
  const own = await weightsOf(head, place);
  const worth = await worthOf(head, place, by);
  const length = tiles * TILE;
  const order = Int32Array.from({ length: own.keys }, (_, key) => key);
  if (by !== "none") {
    for (let begin = 0; begin < own.keys; begin += length) {
      order.subarray(begin, Math.min(begin + length, own.keys))
        .sort((a, b) => (worth[b] ?? 0) - (worth[a] ?? 0) || a - b);
    }
  }
  const [exact, score] = [new Float32Array(rows * columns), new Float32Array(rows * columns)];
  for (let row = 0; row < rows; row++) {
    const natural = Math.floor((diagonal + row) / tiles) * length;
    const seen = Math.min(own.keys, (diagonal + row + 1) * TILE);
    for (let place = 0; place < seen; place++) {
      const key = row * own.keys + (place < natural ? order[place] ?? 0 : place);
      const cell = row * columns + Math.floor(place / TILE);
      exact[cell] = (exact[cell] ?? 0) + (own.exact[key] ?? 0);
      score[cell] = (score[cell] ?? 0) + (own.sampled[key] ?? 0);
    }
  }
  return { exact, score };
}

async function worthOf(
  head: number,
  place: Place,
  by: Permutation["by"],
): Promise<Float32Array> {
  const { rows, reader: { group } } = place;
  const first = by === "last" ? head - head % group : head;
  const count = by === "last" ? group : 1;
  let worth = new Float32Array(0);
  for (let other = first; other < first + count; other++) {
    const { exact, keys } = await weightsOf(other, place);
    if (worth.length === 0) worth = new Float32Array(keys);
    for (let row = by === "last" ? rows - 1 : 0; row < rows; row++) {
      for (let key = 0; key < keys; key++) {
        worth[key] = (worth[key] ?? 0) + (exact[row * keys + key] ?? 0);
      }
    }
  }
  return worth;
}

function weightsOf(head: number, place: Place): Promise<Weights> {
  const heads = known.get(place.reader) ?? new Map<number, Promise<Weights>>();
  known.set(place.reader, heads);
  const found = heads.get(head) ?? measure(head, place);
  heads.set(head, found);
  return found;
}

async function measure(head: number, { rows, diagonal, reader }: Place): Promise<Weights> {
  const { headDim, scale, heads } = reader;
  const [queries, keys] = [await reader.queries(head), await reader.keys(head)];
  const count = keys.length / headDim;
  const [exact, sampled] = [new Float32Array(rows * count), new Float32Array(rows * count)];
  const logits = new Float32Array(count);
  const turn = Math.floor((head + 0.5) * EVERY / heads) % EVERY;
  for (let query = 0; query < queries.length / headDim; query++) {
    const seen = Math.min(diagonal * TILE + query + 1, count);
    let top = -Infinity;
    for (let key = 0; key < seen; key++) {
      const logit = scale * dot(queries, query * headDim, keys, key * headDim, headDim);
      logits[key] = logit;
      if (logit > top) top = logit;
    }
    let total = 0;
    for (let key = 0; key < seen; key++) total += logits[key] = Math.exp((logits[key] ?? 0) - top);
    const begin = Math.floor(query / TILE) * count;
    const isScored = query % EVERY === turn;
    for (let key = 0; key < seen; key++) {
      const weight = (logits[key] ?? 0) / total;
      exact[begin + key] = (exact[begin + key] ?? 0) + weight;
      if (isScored) sampled[begin + key] = (sampled[begin + key] ?? 0) + weight;
    }
  }
  return { exact, sampled, keys: count };
}
