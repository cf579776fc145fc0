/**
 * The tokens of a query where not all keys are read: in pieces of at most 16 tokens, which choose tiles
 * each for itself, as the sequences of a batch do.
 *
 * @module
 */
import { PerStage, type Stage } from "../device/stages.ts";
import { Tensor } from "../device/tensor.ts";
import { invariant } from "../errors.ts";
import { DECODE_QUERY_TOKENS } from "../ops/attention_decode.ts";
import { ChosenTiles, type KeepOptions, type PooledKeys } from "./chosen_tiles.ts";

/** What is known of a chunk of a query, on a rank. */
interface ChunkKeys {
  /** Keys that the chunk's last token sees. */
  readonly keyCount: number;
  /** Whether the chunk's own keys are the last ones. */
  readonly isQueryRank: boolean;
  readonly pooled?: PooledKeys | undefined;
}

/** One layer of a chunk: [tokens, q_heads, head_dim], and [tokens, q_heads]. */
interface ChunkQueries {
  readonly layer: number;
  readonly q: Tensor;
  readonly out: Tensor;
  readonly lse: Tensor | undefined;
}

/** Attention of a query's chunks over chosen tiles; owns what its ops read. */
export class QueryPieces implements Disposable {
  readonly #owned = new DisposableStack();
  readonly #tiles: ChosenTiles;
  readonly #maxPieces: number;
  /** [pieces] i32 each. */
  readonly #firstRows: PerStage<Tensor>;
  readonly #keyCounts: PerStage<Tensor>;
  readonly #pooledTiles: PerStage<Tensor>;

  /** @param options `maxTokens`: of the longest chunk. */
  constructor(
    stages: readonly Stage[],
    options: KeepOptions & { scale: number; rank: number; maxTokens: number },
  ) {
    this.#tiles = this.#owned.use(new ChosenTiles(stages, options));
    this.#maxPieces = Math.ceil(options.maxTokens / DECODE_QUERY_TOKENS);
    const make = (label: string) =>
      new PerStage(stages, ({ device }) => {
        const shape = [this.#maxPieces];
        return this.#owned.use(Tensor.allocate(device, { dtype: "i32", shape, label }));
      });
    this.#firstRows = make("first keys of a query's pieces");
    this.#keyCounts = make("key counts of a query's pieces");
    this.#pooledTiles = make("pooled tiles of a query's pieces");
  }

  /** Brings what a chunk's ops read besides tensors to the devices; before they run. */
  async writeInputs(chunk: ChunkKeys & { readonly tokens: number }): Promise<void> {
    const { tokens, keyCount, isQueryRank } = chunk;
    const pooled = pooledOf(chunk);
    const pieces = Math.ceil(tokens / DECODE_QUERY_TOKENS);
    invariant(pieces <= this.#maxPieces, "a chunk is no longer than it may be");
    this.#tiles.prepare({ sequences: pieces, tiles: pooled.tiles });
    const behind = (piece: number) => Math.max(0, tokens - (piece + 1) * DECODE_QUERY_TOKENS);
    const write = async (to: PerStage<Tensor>, numberOf: (piece: number) => number) => {
      const numbers = Int32Array.from({ length: pieces }, (_, piece) => numberOf(piece));
      for (const tensor of to.all) await tensor.rows(0, pieces).writeFrom(numbers);
    };
    await write(this.#keyCounts, (piece) => keyCount - (isQueryRank ? behind(piece) : 0));
    await write(this.#firstRows, () => pooled.firstRow);
    await write(this.#pooledTiles, () => pooled.tiles);
  }

  /** Attends with all tokens of a chunk. */
  async attend(queries: ChunkQueries, chunk: ChunkKeys): Promise<void> {
    const { layer, q, out, lse } = queries;
    const { keyCount, isQueryRank: causal } = chunk;
    const { arena, means, tiles: tileCapacity } = pooledOf(chunk);
    const keys = arena(layer);
    const ofPages = means(layer);
    invariant(ofPages !== undefined, "keys that are not all read have means");
    const [tokens = 0] = q.shape;
    const whole = Math.floor(tokens / DECODE_QUERY_TOKENS);
    const rest = tokens % DECODE_QUERY_TOKENS;
    for (
      const [first, count, each] of [[0, whole, DECODE_QUERY_TOKENS], [whole, 1, rest]] as const
    ) {
      if (count * each === 0) continue;
      const rowsOf = (tensor: Tensor) => tensor.rows(first * DECODE_QUERY_TOKENS, count * each);
      await this.#tiles.attend({
        ...{ layer, keys, means: ofPages, causal, tileCapacity, sequenceCapacity: keyCount },
        q: rowsOf(q),
        out: rowsOf(out),
        lse: lse && rowsOf(lse),
        firstRow: this.#firstRows.of(layer).rows(first, count),
        keyCount: this.#keyCounts.of(layer).rows(first, count),
        pooledTiles: this.#pooledTiles.of(layer).rows(first, count),
      });
    }
  }

  /** Frees what it owns; a second call does nothing. */
  [Symbol.dispose](): void {
    this.#owned.dispose();
  }
}

function pooledOf({ pooled }: ChunkKeys): PooledKeys {
  invariant(pooled !== undefined, "keys that are not all read have means");
  return pooled;
}
