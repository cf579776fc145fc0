/**
 * How many samples are decoded at once.
 *
 * A step reads all weights once for the whole batch, and the keys and values of each sequence by
 * themselves. So each further sequence makes a token of all of them cheaper, by less and less: of a
 * step that reads W bytes for all and K for each of b sequences, a token takes W / b + K. It pays to add
 * one until
 *
 * - the products compute for longer than they read: b rows make 2 b operations of each weight, and a
 *   device does only so many while it reads a byte; or
 * - the keys outweigh the weights: when those of all sequences are `KEYS_LIMIT` times W, W / b is a fifth
 *   of a token's bytes, and any number of further ones could gain no more than that; or
 * - there is no memory for it, which depends on the lengths: the scheduler finds that out as they come.
 *
 * On an H200 a step of Llama-3.1-8B's shape after 32,768 tokens takes 24.6 ms for 16 sequences
 * (docs/performance.md), 1.5 ms a token. The rule takes 15; keys that weigh as much as the weights would
 * be 4 sequences, whose tokens take 2.4 ms by what they read.
 *
 * @module
 */
import { type DeviceTraits, DTYPE_BYTES } from "../device/device.ts";
import { hostMemory } from "../device/host_memory.ts";
import { poolBytes } from "../model/kv_pools.ts";
import { isTied, layerPools, type ModelShape } from "../model/model_shape.ts";
import { kvFormat, plainWeights, type Precision } from "../model/precision.ts";
import { weightBytes } from "../model/weight_upload.ts";
import type { BlockLayout } from "../star/blocks.ts";
import { sequenceTokens } from "../star/sequence.ts";

/** What may be asked for. */
export const BATCH_RANGE = { min: 1, max: 128 } as const;

/** How many copies of a model may share the samples. */
export const REPLICA_RANGE = { min: 1, max: 64 } as const;

/** The keys and values of a batch pay up to so many times what a step reads for all. */
const KEYS_LIMIT = 4;
/** The share of a machine's available memory that keys and values of a batch may take. */
const HOST_SHARE = 1 / 2;

/** What decides how wide a batch may be. */
export interface BatchOptions {
  readonly config: ModelShape;
  readonly precision: Precision;
  /** As it was asked for. @default {1} */
  readonly batchSize?: number | "auto" | undefined;
}

/** A sequence's size, as all ranks know it. */
export interface SequenceSize {
  readonly layout: BlockLayout;
  /** Tokens of query and answer. */
  readonly room: number;
}

/** Bytes that a step takes once, however many sequences it has. */
export function sharedStepBytes(
  device: Pick<DeviceTraits, "decoding">,
  options: { config: ModelShape; precision: Precision },
): number {
  const { config, precision } = options;
  const all = weightBytes(config, { precision });
  const [rows = 0, columns = 0] = config.embedding.shape;
  // Of an embedding that is not the head, too, a token reads a row.
  const unread = isTied(config) ? 0 : rows * columns * DTYPE_BYTES[plainWeights(precision)];
  return all - unread + config.layerCount * device.decoding.layerBytes;
}

/** Bytes of a sequence's keys and values that a step reads, on the rank that has most of them. */
export function sequenceBytes(
  { layout, room }: SequenceSize,
  options: { config: ModelShape; precision: Precision },
): number {
  const { config, precision } = options;
  const { dtype } = kvFormat(precision);
  const ranks = layout.blocksByRank.map((_, rank) => sequenceTokens(layout, { rank, room }).own);
  const most = Math.max(...ranks);
  const tokens = layerPools(config).map(({ window }) =>
    window === 0 ? most : Math.min(most, window)
  );
  return poolBytes(config, { dtype, tokens });
}

/** How wide the batches of a model are on a device; the same on all ranks of a team. */
export class BatchWidth {
  /** Sequences at once, at most. */
  readonly places: number;
  readonly #options: BatchOptions;
  /** What the keys of a batch may take; infinite where a number of sequences was asked for. */
  readonly #keyBytes: number;

  constructor(device: Pick<DeviceTraits, "decoding">, options: BatchOptions) {
    const { precision, batchSize = 1 } = options;
    this.#options = options;
    const isAuto = batchSize === "auto";
    // Numbers of 8 bits multiply twice as fast as those of 16, and are read so.
    const numberBytes = DTYPE_BYTES[plainWeights(precision)];
    const widest = device.decoding.flopsPerByte * numberBytes / 2;
    this.places = isAuto ? Math.min(BATCH_RANGE.max, widest) : batchSize;
    this.#keyBytes = isAuto ? KEYS_LIMIT * sharedStepBytes(device, options) : Infinity;
  }

  /**
   * How many more sequences may begin beside some; memory is not asked.
   *
   * @param next The size of those that are to come; by default one of them is asked for.
   */
  left(running: readonly SequenceSize[], next?: SequenceSize): number {
    const places = this.places - running.length;
    const bytesOf = (sequence: SequenceSize) => sequenceBytes(sequence, this.#options);
    const bytes = running.reduce((sum, sequence) => sum + bytesOf(sequence), 0);
    const paying = (this.#keyBytes - bytes) / (next === undefined ? 1 : bytesOf(next));
    // One always runs, however long it is.
    const least = running.length === 0 ? 1 : 0;
    return Math.max(0, Math.min(places, Math.max(least, Math.ceil(paying))));
  }
}

/** Bytes of host memory that each of some ranks may fill with a batch; infinite if none may ask. */
export function hostBudget(ranks: number): number {
  return (hostMemory()?.availableBytes ?? Infinity) * HOST_SHARE / ranks;
}
