/**
 * How many tokens of a sequence a rank keeps the keys and values of, in each pool of layers.
 *
 * Layers without a window keep all. With a window of W, the next token sees the W - 1 positions before
 * it, and so does no later one see any before those. Positions of a rank's rows ascend, so that this is
 * one rule for blocks, their anchor, a query and an answer. Beside these, ops read whole tiles; the
 * score of a selection reads 128 groups at a time. In the ring's modes a part goes through a layer as a
 * whole: `part_keys.ts` has its keys meanwhile.
 *
 * All tokens are kept where the switch `STARX_DROP_KEYS` is off.
 *
 * @module
 */
import { type CheckedPlan, mergeOf } from "../attention/plan.ts";
import type { DeviceTraits } from "../device/device.ts";
import { TILE_TOKENS } from "../ffi/symbols.ts";
import type { PoolTokens } from "../model/kv_pools.ts";
import { layerPools, type ModelShape } from "../model/model_shape.ts";
import { PLANNED_LANES, sendingPays } from "./anchor_stream.ts";
import { type BlockLayout, tokensIn } from "./blocks.ts";
import { queryRow, sequenceTokens } from "./sequence.ts";
import { sequenceChunk } from "./sequence_chunk.ts";
import { isOn } from "./switches.ts";

/** Groups that the score of a selection reads at a time. */
const SCORE_GROUPS = 128;

/** What decides how many tokens are kept. */
export interface KeptOptions {
  readonly config: Pick<ModelShape, "layers">;
  readonly plan: CheckedPlan;
  readonly device: Pick<DeviceTraits, "hasHostMemory">;
  readonly layout: BlockLayout;
  readonly rank: number;
  /** Tokens of query and answer. */
  readonly room: number;
  /** The longest chunk. */
  readonly chunkTokens: number;
  /** Whether one query is all that is asked: then its context's keys may go, too. @default {false} */
  readonly isAskedOnce?: boolean | undefined;
}

/** What a rank keeps of a sequence, in each pool. */
export interface KeptTokens {
  /** Tokens that pages are needed for: of its blocks, with the room. */
  readonly own: PoolTokens;
  /** Of its anchor. */
  readonly anchor: PoolTokens;
  /** So many tokens before the next one are kept; infinite where all are. */
  readonly reaches: PoolTokens;
}

/** How many tokens a rank keeps. */
export function keptTokens(options: KeptOptions): KeptTokens {
  const { plan: { cut }, layout, rank } = options;
  const { own, anchor } = sequenceTokens(layout, options);
  const reaches = layerPools(options.config).map(({ window }) => reachOf(window, options));
  const step = stepTokens(options);
  // Rows go and come in whole pages.
  const moving = (all: number) =>
    reaches.map((reach) => Math.min(all, wholePages(reach + step) + 2 * TILE_TOKENS));
  const isWritten = cut.kind !== "parts" || rank === layout.queryRank;
  return {
    own: isWritten ? moving(own) : endOfPart(options, reaches),
    anchor: moving(anchor),
    reaches,
  };
}

/** What is kept of a part behind which nothing is written, and which comes as a whole. */
function endOfPart({ layout, rank }: KeptOptions, reaches: PoolTokens): PoolTokens {
  const blocks = layout.blocksByRank[rank] ?? [];
  const tokens = tokensIn(blocks);
  const contextTokens = Math.max(0, ...layout.blocksByRank.flat().map(({ end }) => end));
  const next = queryRow(blocks, contextTokens);
  return reaches.map((reach) => {
    const first = Math.min(tokens, Math.max(0, next - reach));
    return tokens - Math.floor(first / TILE_TOKENS) * TILE_TOKENS;
  });
}

function wholePages(tokens: number): number {
  return Math.ceil(tokens / TILE_TOKENS) * TILE_TOKENS;
}

/** So many tokens before the next one are read by some op. */
function reachOf(window: number, options: KeptOptions): number {
  const { plan: { selection, cut } } = options;
  if (window === 0 || !isOn("STARX_DROP_KEYS")) return Infinity;
  // A ring's selection has the keys of the whole context before it, a layer at a time.
  if (selection === undefined || cut.kind === "parts") return window + TILE_TOKENS;
  return window + TILE_TOKENS + SCORE_GROUPS * selection.stride;
}

/** The most tokens that are written before others can go. */
function stepTokens(options: KeptOptions): number {
  const { plan, device, layout, room, chunkTokens, isAskedOnce = false } = options;
  const lanes = !device.hasHostMemory && sendingPays(layout) ? PLANNED_LANES : 1;
  const chunk = lanes * Math.max(chunkTokens, sequenceChunk(chunkTokens));
  // A query that is scored as a whole is one chunk; one that is not the last must leave the context.
  return mergeOf(plan) === "antidiagonal" || !isAskedOnce ? Math.max(chunk, room) : chunk;
}
