/**
 * Phase 2 of Star Attention for a batch: one token of each of several sequences, which have keys and
 * lengths of their own. Every rank attends to its own keys, and the ranks' parts are merged: one
 * packed all-gather a layer, whatever the batch.
 *
 * What a row gets does not depend on the other rows, bit for bit: a rank that has no keys of a sequence
 * gives zeros with a log-sum-exp of -inf, which add nothing to a sum.
 *
 * @module
 */
import type { KvSegment } from "../device/kv_segment.ts";
import { PerStage, type Stage } from "../device/stages.ts";
import { Tensor } from "../device/tensor.ts";
import { invariant } from "../errors.ts";
import { TILE_TOKENS } from "../ffi/symbols.ts";
import { rankScore } from "../ops/rank_score.ts";
import { attentionDecode } from "../ops/attention_decode.ts";
import { mergeStates, partElements } from "../ops/merge_states.ts";
import {
  type GlobalAttentionOptions,
  isMergedByScore,
  RANK_SCORE_STRIDE,
  type RankKeys,
} from "./global.ts";
import { ChosenTiles } from "./chosen_tiles.ts";
import { readKeys } from "./key_reader.ts";
import { PartBuffers, splitPart } from "./parts.ts";
import type { AttentionStrategy, LayerQueries } from "./strategy.ts";
import { visibleRows } from "./window.ts";

/** One sequence of a batch. */
export interface BatchKeys extends RankKeys {
  /** Where the first of all its keys lies in a layer's arena, or would lie if it were kept. */
  readonly origin: (layer: number) => number;
  /** Rows of its pages in a layer's arena. */
  readonly capacity: (layer: number) => number;
  /** All rows of the arena of a layer. */
  readonly arena: (layer: number) => KvSegment;
}

/** Layers that see the same keys. */
export interface LayersOfWindow {
  /** 0 for none. */
  readonly window: number;
  /** Their numbers; at least one. */
  readonly layers: readonly number[];
}

/** The keys that the rows of some layers see: [rows] i32 each. */
interface VisibleKeys extends LayersOfWindow {
  readonly firstRows: PerStage<Tensor>;
  readonly keyCounts: PerStage<Tensor>;
  /** Tiles with a mean; where not all keys are read. */
  readonly pooledTiles: PerStage<Tensor> | undefined;
  /** What the devices have as first rows. */
  written: string;
}

/** Attention of a batch over all ranks' keys; owns the buffers of the exchange. */
export class BatchAttention implements Disposable {
  readonly #options: GlobalAttentionOptions;
  readonly #owned: DisposableStack;
  readonly #visible: readonly VisibleKeys[];
  readonly #lse: PerStage<Tensor>;
  /** Absent where one rank has all keys. */
  readonly #parts: PartBuffers | undefined;
  /** Absent where all keys are read. */
  readonly #tiles: ChosenTiles | undefined;

  /** @param options `maxRows`: the widest batch. `windows`: all layers. */
  constructor(
    stages: readonly Stage[],
    options: GlobalAttentionOptions & { maxRows: number; windows: readonly LayersOfWindow[] },
  ) {
    const { collective, maxRows, queryHeads: heads, headDim, windows, keep, scale } = options;
    this.#options = options;
    using owned = new DisposableStack();
    const make = (label: string, dtype: "i32" | "f32", ...shape: number[]) =>
      new PerStage(
        stages,
        ({ device }) => owned.use(Tensor.allocate(device, { dtype, shape, label })),
      );
    this.#visible = windows.map((layers) => ({
      ...layers,
      firstRows: make(`first keys of window ${layers.window}`, "i32", maxRows),
      keyCounts: make(`key counts of window ${layers.window}`, "i32", maxRows),
      pooledTiles: keep === undefined || layers.window > 0
        ? undefined
        : make("tiles with a mean", "i32", maxRows),
      written: "",
    }));
    const { rank } = collective;
    this.#tiles = keep && owned.use(new ChosenTiles(stages, { ...keep, scale, rank }));
    this.#lse = make("log-sum-exps", "f32", maxRows, heads);
    const elements = maxRows * partElements({ tokens: 1, heads, headDim });
    this.#parts = collective.size === 1
      ? undefined
      : owned.use(new PartBuffers(stages, { collective, elements }));
    this.#owned = owned.move();
  }

  /** Brings what a step's ops read besides tensors to the devices; before they run. */
  async writeInputs(rows: readonly BatchKeys[]): Promise<void> {
    for (const visible of this.#visible) {
      const { window, layers: [layer = 0], firstRows, keyCounts, pooledTiles } = visible;
      const seen = rows.map((row) => visibleRows(window, row));
      await write(keyCounts, seen.map(({ keyCount }) => keyCount));
      const first = rows.map(({ origin }, i) => origin(layer) + (seen[i]?.firstRow ?? 0));
      const tiles = pooledTiles === undefined ? [] : rows.map(({ pooled }) => pooled?.tiles ?? 0);
      if (pooledTiles !== undefined) {
        this.#tiles?.prepare({ sequences: rows.length, tiles: tileCapacity(rows, layer) });
      }
      const text = `${first} ${tiles}`;
      if (text === visible.written) continue;
      await write(firstRows, first);
      if (pooledTiles !== undefined) await write(pooledTiles, tiles);
      visible.written = text;
    }
  }

  /**
   * What recorded ops of a batch hold besides device data: they may run again for any batch with the
   * same text.
   */
  recordKey(rows: readonly BatchKeys[]): string {
    const shared = this.#isShared(rows);
    const pools = this.#visible.map(({ layers: [layer = 0], window }) => {
      // A score is computed of each sequence by itself.
      const isScored = shared && isMergedByScore({ ...this.#options, window });
      const places = isScored
        ? rows.map((row) => `${row.origin(layer)}+${row.capacity(layer)}`)
        : [];
      return [capacityOf(rows, layer), ...places].join(" ");
    });
    return `${shared} ${this.#tiles?.version ?? 0} ${pools.join(" ")}`;
  }

  /** The strategy of one step. */
  step(rows: readonly BatchKeys[]): AttentionStrategy {
    const { merge, windowOf } = this.#options;
    return {
      attend: async (queries) => {
        if (!this.#isShared(rows)) return await this.#alone(queries, rows);
        const byScore = isMergedByScore({ merge, window: windowOf(queries.layer) });
        await (byScore ? this.#mergeByScore(queries, rows) : this.#mergeByLse(queries, rows));
      },
    };
  }

  /** Whether some sequence has keys on more than one rank. */
  #isShared(rows: readonly BatchKeys[]): boolean {
    return rows.some(({ rankCount }) => rankCount > 1);
  }

  async #alone(queries: LayerQueries, rows: readonly BatchKeys[]): Promise<void> {
    const { out, layer } = queries;
    await this.#local(queries, rows, { out, lse: this.#lse.of(layer).rows(0, rows.length) });
  }

  /** The parts of all rows side by side: one merge of all. */
  async #mergeByLse(queries: LayerQueries, rows: readonly BatchKeys[]): Promise<void> {
    const { queryHeads: heads, headDim } = this.#options;
    const { q, out, layer } = queries;
    const sizes = { tokens: rows.length, heads, headDim };
    const length = partElements(sizes);
    await this.#local(queries, rows, splitPart(this.#buffers.part(layer, length), sizes));
    const parts = await this.#buffers.gather(layer, length);
    await mergeStates(q.device, { out, parts, byScore: false, ...sizes });
  }

  /** A part for each row, as each has a score of its own: a merge of each. */
  async #mergeByScore(queries: LayerQueries, rows: readonly BatchKeys[]): Promise<void> {
    const { queryHeads: heads, headDim, scale, reader } = this.#options;
    const { q, out, layer } = queries;
    const { device } = q;
    const sizes = { tokens: 1, heads, headDim };
    const length = partElements(sizes);
    const all = this.#buffers.part(layer, rows.length * length);
    for (const [row, { keys, anchorMean: meanOf, capacity }] of rows.entries()) {
      const part = splitPart(all.rows(row * length, length), sizes);
      await this.#local(queries, rows, { ...part, row });
      const anchorMean = meanOf(layer);
      if (anchorMean === undefined) continue;
      // A token alone reaches no key behind the anchor's mean: their number plays no part.
      const segments = { keys: keys(layer, reader === undefined ? capacity(layer) : 0) };
      await rankScore(device, {
        score: part.score,
        q: q.rows(row, 1),
        anchorMean,
        ...await readKeys(reader, layer, segments),
        stride: RANK_SCORE_STRIDE,
        scale,
      });
    }
    const gathered = await this.#buffers.gather(layer, rows.length * length);
    for (const [row, { rankCount }] of rows.entries()) {
      const parts = gathered.rows(0, rankCount).columns(row * length, length);
      await mergeStates(device, { out: out.rows(row, 1), parts, byScore: true, ...sizes });
    }
  }

  /** This rank's part of all rows, or of one: zeros with a log-sum-exp of -inf where it has no keys. */
  async #local(
    queries: LayerQueries,
    rows: readonly BatchKeys[],
    target: { out: Tensor; lse: Tensor; row?: number },
  ): Promise<void> {
    const { out, lse, row } = target;
    const { layer, q } = queries;
    const [first] = rows;
    if (first === undefined) return;
    const window = this.#options.windowOf(layer);
    const visible = this.#visible.find((layers) => layers.window === window);
    invariant(visible !== undefined, "every layer's window is known");
    const { firstRows, keyCounts, pooledTiles } = visible;
    const arena = first.arena(layer);
    const [start, count] = row === undefined ? [0, rows.length] : [row, 1];
    const common = {
      ...{ out, lse, keys: arena, causal: true },
      q: q.rows(start, count),
      firstRow: firstRows.of(layer).rows(start, count),
      keyCount: keyCounts.of(layer).rows(start, count),
      sequenceCapacity: Math.min(arena.tokens, capacityOf(rows, layer)),
    };
    if (pooledTiles !== undefined) {
      const means = first.pooled?.means(layer);
      invariant(means !== undefined, "keys that are not all read have means");
      await this.#tiles?.attend({
        ...{ ...common, layer, means, tileCapacity: tileCapacity(rows, layer) },
        pooledTiles: pooledTiles.of(layer).rows(start, count),
      });
      return;
    }
    // Where keys begin and how many there are is read from the device, so that recorded ops do for
    // later tokens and other sequences.
    await attentionDecode(q.device, { ...common, scale: this.#options.scale });
  }

  get #buffers(): PartBuffers {
    if (this.#parts === undefined) throw new TypeError("Cannot merge parts of one rank alone");
    return this.#parts;
  }

  /** Frees the buffers; a second call does nothing. */
  [Symbol.dispose](): void {
    this.#owned.dispose();
  }
}

/** Writes the first numbers of each device's tensor. */
async function write(tensors: PerStage<Tensor>, numbers: readonly number[]): Promise<void> {
  for (const tensor of tensors.all) {
    await tensor.rows(0, numbers.length).writeFrom(Int32Array.from(numbers));
  }
}

/** Rows of the longest sequence's pages, rounded up a little: recorded ops do for others then. */
function capacityOf(rows: readonly BatchKeys[], layer: number): number {
  const longest = Math.max(...rows.map(({ capacity }) => capacity(layer)));
  const step = 2 ** Math.max(0, Math.floor(Math.log2(longest)) - 2);
  return Math.ceil(longest / step) * step;
}

/** Tiles that the lists of a batch have room for: of the longest sequence. */
function tileCapacity(rows: readonly BatchKeys[], layer: number): number {
  return Math.ceil(capacityOf(rows, layer) / TILE_TOKENS);
}
