/**
 * Phase 2 of Star Attention (arXiv 2411.17116, section 2.2), one step at a time: the tokens of a
 * query, or the latest token of each of several sequences, run through the model on all ranks; only
 * a sequence's query rank keeps their keys and values, computes logits, chooses the next token and
 * tells the others.
 *
 * A query runs alone, in chunks. Steps of generated tokens are batched: a sequence's bits do not depend
 * on its company. Where devices record ops, a step is recorded once for each width and kind of batch.
 *
 * @module
 */
import { BatchAttention, type BatchKeys } from "../attention/batch.ts";
import type { KeepOptions } from "../attention/chosen_tiles.ts";
import { unitTiles } from "../attention/decode_keep.ts";
import { GlobalAttention } from "../attention/global.ts";
import type { KeyReader } from "../attention/key_reader.ts";
import { type CheckedPlan, mergeOf } from "../attention/plan.ts";
import type { PendingBytes } from "../device/device.ts";
import type { Stage } from "../device/stages.ts";
import { invariant } from "../errors.ts";
import type { Bytes } from "../ffi/memory.ts";
import { type Chunk, consecutive, type Transformer } from "../model/forward.ts";
import type { KvPools } from "../model/kv_pools.ts";
import { layerPools, windowsOf } from "../model/model_shape.ts";
import type { RopeLengths } from "../model/rope_frequencies.ts";
import type { Collective } from "../parallel/collective.ts";
import { largestLogits } from "./logits.ts";
import type { Sequence } from "./sequence.ts";
import { rowGroups, TokenBoard } from "./token_board.ts";
import { StepRecords } from "./step_records.ts";
import { scoreRows, type TokenScore } from "./token_scores.ts";
import { Pauses, type Turns } from "./turns.ts";

/** What steps are made with. */
export interface StepperOptions {
  /** Where the layers lie. */
  readonly stages: readonly Stage[];
  readonly transformer: Transformer;
  readonly pools: KvPools;
  /** Expands keys of 8 bits; absent where keys are read as they are. */
  readonly reader?: KeyReader | undefined;
  readonly plan: CheckedPlan;
  readonly collective: Collective;
  /** The widest batch. */
  readonly maxRows: number;
}

/** Some sequences, each with tokens to compute: several of one, or one of each. */
export type Batch = readonly { readonly sequence: Sequence; readonly ids: Int32Array }[];

/** What a query gave. */
export interface FirstToken {
  /** Known on all ranks. */
  readonly id: number;
  /** `[id, logit]`, largest first; only on the query rank. */
  readonly topLogits: readonly (readonly [number, number])[];
  /** Of what follows on each token of the query, if asked for; only on the query rank. */
  readonly scores: readonly TokenScore[];
}

/** The tokens that a started step chooses. */
export interface PendingTokens {
  /** Waits for this step only. @returns The tokens, in the order of the sequences. */
  read(): Promise<Int32Array>;
}

/** The longest chunk of a query, unless the merge needs the whole of it. */
export function queryChunk(
  options: { plan: CheckedPlan; queryTokens: number; maxTokens: number },
): number {
  // StarXAttention's score looks at all query tokens at once.
  if (mergeOf(options.plan) === "antidiagonal") return options.queryTokens;
  return Math.min(options.queryTokens, options.maxTokens);
}

/** Runs steps; owns what they share. */
export class Stepper implements Disposable {
  /** Called after every layer of a step, or after a recorded step. */
  onLayer: () => void = () => {};
  readonly #options: StepperOptions;
  readonly #owned = new DisposableStack();
  readonly #attention: BatchAttention;
  readonly #board: TokenBoard;
  readonly #records: StepRecords;
  readonly #scale: number;
  /** Absent where all keys are read. */
  readonly #keep: KeepOptions | undefined;
  /** The sequences of the batch, those of a query rank side by side. */
  #rows: readonly Sequence[] = [];
  /** For each sequence as it was given, its row. */
  #order: readonly number[] = [];
  /** The latest token of each row, where no device holds it. */
  #known: Int32Array = new Int32Array(0);

  constructor(options: StepperOptions) {
    const { stages, transformer, collective, plan, maxRows } = options;
    const { queryHeads, headDim, attentionScale } = transformer.config;
    this.#options = options;
    this.#scale = attentionScale;
    this.#records = this.#owned.use(new StepRecords(stages, { collective }));
    const { canRecord } = this.#records;
    this.#board = this.#owned.use(
      new TokenBoard(stages, { collective, transformer, maxRows, canRecord }),
    );
    const merge = mergeOf(plan);
    const windowOf = windowsOf(transformer.config);
    const { decodeKeep: keep, cut } = plan;
    const { kvHeads } = transformer.config;
    this.#keep = keep && { keep, unitTiles: unitTiles(cut), kvHeads };
    this.#attention = this.#owned.use(
      new BatchAttention(stages, {
        collective,
        merge,
        queryHeads,
        headDim,
        scale: this.#scale,
        windowOf,
        windows: layerPools(transformer.config),
        maxRows,
        keep: this.#keep,
        reader: options.reader,
      }),
    );
  }

  /** Whether a step can be started before the tokens of the one before are known. */
  get runsAhead(): boolean {
    return this.#records.runsAhead;
  }

  /** The widest batch. */
  get maxRows(): number {
    return this.#options.maxRows;
  }

  /** The options as they were given: a stepper lasts as long as what it was made with. */
  get madeWith(): StepperOptions {
    return this.#options;
  }

  /**
   * Runs a sequence's query through the model, and chooses the first token behind it.
   *
   * @throws {WorkerError} If a rank is lost.
   */
  async query(
    sequence: Sequence,
    query: { ids: Int32Array; topLogits: number; tokenScores?: number | undefined; turns: Turns },
  ): Promise<FirstToken> {
    const { transformer, plan, stages, collective, reader } = this.#options;
    const { ids, turns, tokenScores } = query;
    const maxTokens = queryChunk({
      plan,
      queryTokens: ids.length,
      maxTokens: transformer.maxTokens,
    });
    const { queryHeads, headDim } = transformer.config;
    using attention = new GlobalAttention(stages, {
      collective,
      merge: mergeOf(plan),
      queryHeads,
      headDim,
      scale: this.#scale,
      windowOf: windowsOf(transformer.config),
      maxTokens,
      rankCount: sequence.rankCount,
      ...{ keep: this.#keep, reader },
    });
    let row = 0;
    const scores: TokenScore[] = [];
    const pauses = await Pauses.agree(turns, Math.ceil(ids.length / maxTokens));
    for (let begin = 0; begin < ids.length; begin += maxTokens) {
      if (begin > 0 && !await pauses.next()) await turns.turn();
      const part = ids.subarray(begin, begin + maxTokens);
      await sequence.extend(part.length);
      const keys = this.#keysOf(sequence);
      await attention.writeInputs({ ...keys, tokens: part.length });
      const slices = [{ sequence, ids: part }];
      await transformer.forward(this.#chunk(slices, { attention: attention.step(keys) }));
      row = part.length - 1;
      if (tokenScores !== undefined && sequence.isQueryRank) {
        scores.push(...await this.#score(ids, { begin, rows: part.length, top: tokenScores }));
      }
    }
    const { isQueryRank, queryRank: rank } = sequence;
    let topLogits: FirstToken["topLogits"] = [];
    if (isQueryRank) {
      const logits = await transformer.logits({ first: row, count: 1 });
      await this.#board.choose(logits, { first: 0 });
      topLogits = await largestLogits(logits, query.topLogits);
    }
    const tokens = await this.#board.tell([{ rank, first: 0, count: 1 }]);
    return { id: tokens[0] ?? 0, topLogits, scores };
  }

  /** Scores what follows on the rows of the last chunk, as many at once as the logits have room for. */
  async #score(
    ids: Int32Array,
    chunk: { begin: number; rows: number; top: number },
  ): Promise<TokenScore[]> {
    const { transformer, maxRows } = this.#options;
    const { begin, top } = chunk;
    const end = begin + chunk.rows;
    const scores: TokenScore[] = [];
    for (let at = begin; at < end; at += maxRows) {
      const count = Math.min(maxRows, end - at);
      const logits = await transformer.logits({ first: at - begin, count });
      // Behind the query's last token comes the one that is chosen.
      const targets = Int32Array.from({ length: count }, (_, i) => ids[at + 1 + i] ?? -1);
      scores.push(...await scoreRows(logits, { targets, top }));
    }
    return scores;
  }

  /**
   * Sets who takes part in the following steps, and with which tokens.
   *
   * @param batch One token of each sequence; at most `maxRows`.
   */
  async begin(batch: Batch): Promise<void> {
    invariant(batch.length >= 1 && batch.length <= this.#options.maxRows, "a batch has its rows");
    // Stable, so that rows of a query rank lie side by side on all ranks alike.
    const rows = batch.map((slice, index) => ({ slice, index }))
      .sort((a, b) => a.slice.sequence.queryRank - b.slice.sequence.queryRank || a.index - b.index);
    this.#rows = rows.map(({ slice }) => slice.sequence);
    const order = new Array<number>(rows.length);
    rows.forEach(({ index }, row) => order[index] = row);
    this.#order = order;
    const ids = Int32Array.from(rows, ({ slice }) => slice.ids[0] ?? 0);
    this.#known = ids;
    if (this.#records.canRecord) await this.#board.place(ids);
  }

  /**
   * Starts a step of the sequences that take part.
   *
   * @returns Their next tokens, to be read before the next step unless `runsAhead`.
   * @throws {WorkerError} If a rank is lost.
   */
  async start(): Promise<PendingTokens> {
    const rows = this.#rows;
    for (const sequence of rows) await sequence.extend(1);
    const keys = rows.map((sequence) => this.#keysOf(sequence));
    const slices = rows.map((sequence, row) => ({
      sequence,
      ids: this.#known.subarray(row, row + 1),
    }));
    const attention = this.#attention.step(keys);
    const chunk = { ...this.#chunk(slices, { attention }), isBatch: true };
    await this.#attention.writeInputs(keys);
    const groups = rowGroups(rows);
    const order = this.#order;
    const inOrder = (tokens: Int32Array) => Int32Array.from(order, (row) => tokens[row] ?? 0);
    if (!this.#records.canRecord) {
      await this.#options.transformer.forward(chunk);
      await this.#predict();
      this.#known = await this.#board.tell(groups);
      const tokens = inOrder(this.#known);
      return { read: () => Promise.resolve(tokens) };
    }
    const pending = await this.#startRecorded(chunk, keys);
    const { length } = rows;
    return {
      read: async () => {
        const tokens = readTokens(await pending.read(), length);
        // What hung because of a lost rank has ended, too, and the tokens mean nothing.
        this.#records.watch();
        return inOrder(tokens);
      },
    };
  }

  async #startRecorded(chunk: Chunk, keys: readonly BatchKeys[]): Promise<PendingBytes> {
    const { transformer, pools, stages } = this.#options;
    const groups = rowGroups(this.#rows);
    await transformer.writePlaces(chunk);
    const key = `${pools.version} ${keys.length} ${JSON.stringify(groups)} ` +
      this.#attention.recordKey(keys);
    await this.#records.run(key, {
      enter: (stage) => transformer.enterStage(stage, chunk),
      start: async (stage) => {
        await transformer.runStage(stage, chunk);
        if (stage < stages.length - 1) return;
        await this.#predict();
        await this.#board.shareOnDevice(groups);
      },
    });
    this.onLayer();
    return this.#board.pass(keys.length);
  }

  /** A query rank chooses the most likely token of each of its rows. */
  async #predict(): Promise<void> {
    const { transformer, collective: { rank } } = this.#options;
    const group = rowGroups(this.#rows).find((group) => group.rank === rank);
    if (group === undefined) return;
    await this.#board.choose(await transformer.logits(group), group);
  }

  /** The tokens of some slices, which are part of their sequences' lengths already. */
  #chunk(batch: Batch, options: { attention: Chunk["attention"] }): Chunk {
    const { pools } = this.#options;
    const positions: number[] = [];
    const rows = pools.capacity.map((): number[] => []);
    const lengths: RopeLengths[] = [];
    for (const { sequence, ids } of batch) {
      for (let i = 0; i < ids.length; i++) lengths.push(sequence.lengths);
      const begin = sequence.length - ids.length;
      positions.push(...consecutive(sequence.contextTokens + begin, ids.length));
      for (const [pool, origin] of sequence.rows.origins.entries()) {
        const row = origin + sequence.cachedTokens + begin;
        const own = sequence.isQueryRank ? consecutive(row, ids.length) : ids.map(() => -1);
        rows[pool]?.push(...own);
      }
    }
    return {
      ids: Int32Array.from(batch.flatMap(({ ids }) => [...ids])),
      positions: Int32Array.from(positions),
      target: {
        layer: (layer) => pools.layer(layer),
        rows: rows.map((pool) => Int32Array.from(pool)),
      },
      attention: options.attention,
      keysOnly: false,
      lengthsOf: (token) => {
        const own = lengths[token];
        invariant(own !== undefined, "a token has a sequence");
        return own;
      },
      onLayer: () => this.onLayer(),
    };
  }

  /** What attention needs of a sequence at its present length. */
  #keysOf(sequence: Sequence): BatchKeys {
    const { pools } = this.#options;
    const arena = (layer: number) => pools.allRows(layer);
    if (this.#keep === undefined) return batchKeys(sequence, { arena });
    const { wholeTiles: tiles, rows } = sequence;
    const pooled = { tiles, firstRow: rows.pooledFrom, arena };
    return {
      ...batchKeys(sequence, { arena }),
      pooled: { ...pooled, means: (layer) => pools.allMeans(layer) },
    };
  }

  /** Frees what steps share; a second call does nothing. */
  [Symbol.dispose](): void {
    this.#owned.dispose();
  }
}

/** What attention needs of a sequence at its present length, where all keys are read. */
function batchKeys(sequence: Sequence, { arena }: Pick<BatchKeys, "arena">): BatchKeys {
  const { keyCount, isQueryRank, rankCount, rows } = sequence;
  return {
    keys: (layer, tokens) => sequence.keys(layer, tokens),
    keyCount,
    ...sequence.place,
    lastPosition: sequence.contextTokens + sequence.length - 1,
    isQueryRank,
    rankCount,
    anchorMean: (layer) => sequence.anchorMean(layer),
    origin: (layer) => rows.runOf(layer).origin,
    capacity: (layer) => rows.runOf(layer).capacity,
    arena,
  };
}

function readTokens(bytes: Bytes, count: number): Int32Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return Int32Array.from({ length: count }, (_, i) => view.getInt32(4 * i, true));
}
