/**
 * Scores of tiles that `try_scores.ts` compares: what a head's queries and keys say about each tile,
 * by plain loops.
 *
 * @module
 */
import { dot } from "./dot.ts";
import { type Permutation, permutedMasses, type Place, TILE } from "./permuted.ts";

export type { Place } from "./permuted.ts";

/** A way to score tiles. */
export interface Method {
  /** Multiplications of a query with a key that it takes, as a share of dense attention's. */
  readonly cost: number;
  /** [rows, columns]: at least 0; what counts is how the tiles of a row compare. */
  score(head: number, place: Place): Promise<Float32Array>;
  /** The exact mass, where its tiles are not those of keys in their order. */
  exact?(head: number, place: Place): Promise<Float32Array>;
}

/** How queries meet keys. */
interface Sampling {
  /** Queries: one of so many. */
  readonly every: number;
  /** Keys whose mean stands for them. */
  readonly pool: number;
  /** Whether the mean of `every` queries is taken in place of one of them. @default {false} */
  readonly pooled?: boolean;
  /** Whether a tile has its largest weight of a row instead of the sum over rows. @default {false} */
  readonly largest?: boolean;
  /** Whether the last queries of a tile are taken instead of some at even distances. @default {false} */
  readonly last?: boolean;
}

const antidiagonal = (stride: number, options: { largest?: boolean } = {}): Method => ({
  cost: 1 / stride,
  score: (head, place) => antidiagonalShares({ stride, ...options }, head, place),
});

const sampled = (options: Sampling): Method => ({
  cost: 1 / (options.every * options.pool),
  score: (head, place) => sampledShares(options, head, place),
});

const shared = (method: Method): Method => ({
  cost: method.cost,
  async score(head, place) {
    const { group } = place.reader;
    const first = head - head % group;
    const sum = new Float32Array(place.rows * place.columns);
    for (let other = first; other < first + group; other++) {
      (await method.score(other, place)).forEach((share, i) => sum[i] = (sum[i] ?? 0) + share);
    }
    return sum;
  },
});

const exact: Method = { cost: 1, score: (head, { reader }) => reader.exactMass(head) };
const own: Method = { cost: 1 / 16, score: (head, { reader }) => reader.mass(head) };

function permuted(permutation: Permutation, { isExact = false } = {}): Method {
  const masses = (head: number, place: Place) => permutedMasses(head, place, permutation);
  return {
    cost: isExact ? 1 : 1 / 16,
    score: async (head, place) => (await masses(head, place))[isExact ? "exact" : "score"],
    exact: async (head, place) => (await masses(head, place)).exact,
  };
}

/**
 * All methods by name: `own` is the selection's own score, the antidiagonal mass at the run's stride;
 * `anti` has another stride; `mean` means of queries on means of keys; `rr` every nth query, from
 * another one on in each head (RRAttention, arXiv 2602.05853), on means of keys; `q16k1` every 16th
 * query on all keys; `last` the last queries of a tile; `pbs` is `q16k1` on keys that are permuted
 * within segments of so many, by what the last tile of queries sees or by what `all` see; with `-exact`
 * all queries score, too. `-shared`: heads that share keys share their
 * scores. `-max`: the largest weight of a row instead of the sum.
 */
export const METHODS: Readonly<Record<string, Method>> = {
  exact,
  "exact-shared": shared(exact),
  own,
  "own-shared": shared(own),
  anti8: antidiagonal(8),
  anti32: antidiagonal(32),
  anti64: antidiagonal(64),
  anti128: antidiagonal(128),
  "anti16-max": antidiagonal(16, { largest: true }),
  mean: sampled({ every: 128, pool: 128, pooled: true }),
  mean16: sampled({ every: 16, pool: 16, pooled: true }),
  mean8: sampled({ every: 8, pool: 8, pooled: true }),
  rr16: sampled({ every: 16, pool: 16 }),
  q16k1: sampled({ every: 16, pool: 1 }),
  q64k1: sampled({ every: 64, pool: 1 }),
  "q16k1-max": sampled({ every: 16, pool: 1, largest: true }),
  last4k1: sampled({ every: 32, pool: 1, last: true }),
  pbs256: permuted({ tiles: 2, by: "last" }),
  pbs1024: permuted({ tiles: 8, by: "last" }),
  "pbs1024-all": permuted({ tiles: 8, by: "all" }),
  "pbs1024-exact": permuted({ tiles: 8, by: "last" }, { isExact: true }),
  "pbs1024-all-exact": permuted({ tiles: 8, by: "all" }, { isExact: true }),
};

/** Shares of a row of groups of tokens by sums along antidiagonals (arXiv 2503.16428, section 2.1). */
async function antidiagonalShares(
  { stride, largest = false }: { stride: number; largest?: boolean },
  head: number,
  { rows, columns, diagonal, reader }: Place,
): Promise<Float32Array> {
  const { headDim, scale } = reader;
  const queries = await reader.queries(head);
  const keys = await reader.keys(head);
  const width = stride * headDim;
  // A group's queries last to first are one vector, its keys first to last another one.
  const backwards = new Float32Array(Math.ceil(queries.length / width) * width);
  for (let token = 0; token * headDim < queries.length; token++) {
    const to = token - token % stride + stride - 1 - token % stride;
    backwards.set(queries.subarray(token * headDim, (token + 1) * headDim), to * headDim);
  }
  const padded = new Float32Array(Math.ceil(keys.length / width) * width);
  padded.set(keys);
  const perTile = TILE / stride;
  const sums = new RowSums({ rows, columns, perTile, largest });
  for (let group = 0; group < backwards.length / width; group++) {
    const seen = diagonal * perTile + group + 1;
    sums.add(Math.floor(group / perTile), {
      count: Math.min(seen, padded.length / width),
      logit: (other) =>
        scale / stride * dot(backwards, group * width, padded, other * width, width),
    });
  }
  return sums.shares;
}

/** Shares of sampled or pooled queries on keys, or on means of keys. */
async function sampledShares(
  { every, pool, pooled = false, largest = false, last = false }: Sampling,
  head: number,
  { rows, columns, diagonal, reader }: Place,
): Promise<Float32Array> {
  const { headDim, scale, heads } = reader;
  const all = await reader.queries(head);
  const queries = pooled ? means(all, { pool: every, headDim }) : all;
  const keys = means(await reader.keys(head), { pool, headDim });
  const count = keys.length / headDim;
  const sums = new RowSums({ rows, columns, perTile: TILE / pool, largest });
  const step = pooled || last ? 1 : every;
  const turn = pooled || last ? 0 : Math.floor((head + 0.5) * every / heads) % every;
  for (let query = turn; query < queries.length / headDim; query += step) {
    const token = pooled ? (query + 1) * every - 1 : query;
    if (last && token % TILE < TILE - TILE / every) continue;
    const seen = Math.floor((diagonal * TILE + token) / pool) + 1;
    sums.add(Math.floor(token / TILE), {
      count: Math.min(seen, count),
      logit: (key) => scale * dot(queries, query * headDim, keys, key * headDim, headDim),
    });
  }
  return sums.shares;
}

/** Adds up, tile by tile, the softmax's weights of some rows. */
class RowSums {
  readonly shares: Float32Array;
  readonly #sizes: { columns: number; perTile: number; largest?: boolean };
  readonly #logits: Float32Array;

  constructor(sizes: { rows: number; columns: number; perTile: number; largest?: boolean }) {
    this.#sizes = sizes;
    this.shares = new Float32Array(sizes.rows * sizes.columns);
    this.#logits = new Float32Array(sizes.columns * sizes.perTile);
  }

  /** @param keys Those that the row sees, or means of them, and their logits. */
  add(row: number, keys: { count: number; logit: (key: number) => number }): void {
    const { columns, perTile, largest = false } = this.#sizes;
    const logits = this.#logits;
    let top = -Infinity;
    for (let key = 0; key < keys.count; key++) {
      const logit = keys.logit(key);
      logits[key] = logit;
      if (logit > top) top = logit;
    }
    let total = 0;
    for (let key = 0; key < keys.count; key++) {
      total += logits[key] = Math.exp((logits[key] ?? 0) - top);
    }
    for (let begin = 0; begin < keys.count; begin += perTile) {
      let share = 0;
      for (let key = begin; key < Math.min(begin + perTile, keys.count); key++) {
        share += logits[key] ?? 0;
      }
      const cell = row * columns + begin / perTile;
      const before = this.shares[cell] ?? 0;
      this.shares[cell] = largest ? Math.max(before, share / total) : before + share / total;
    }
  }
}

/** Means of so many vectors each, of the last ones maybe fewer. */
function means(vectors: Float32Array, options: { pool: number; headDim: number }): Float32Array {
  const { pool, headDim } = options;
  if (pool === 1) return vectors;
  const count = vectors.length / headDim;
  const out = new Float32Array(Math.ceil(count / pool) * headDim);
  for (let i = 0; i < count; i++) {
    const to = Math.floor(i / pool) * headDim;
    const share = 1 / Math.min(pool, count - (i - i % pool));
    for (let d = 0; d < headDim; d++) {
      out[to + d] = (out[to + d] ?? 0) + share * (vectors[i * headDim + d] ?? 0);
    }
  }
  return out;
}
