/**
 * What a run needs of a GPU's memory, known before anything is loaded.
 *
 * @module
 */
import type { CheckedPlan } from "../attention/plan.ts";
import { TILE_TOKENS } from "../ffi/symbols.ts";
import { expandedBytes, type SegmentTokens } from "../attention/key_reader.ts";
import { QUERY_TOKENS, ringChunks } from "../attention/ring_pieces.ts";
import { selectedRingShapes } from "../attention/ring_selected.ts";
import { keptMeansTensor, restTensors } from "../attention/rest.ts";
import { selectionTensors } from "../attention/xattention.ts";
import type { DeviceTraits } from "../device/device.ts";
import { type LayerRange, splitLayers } from "../device/stages.ts";
import { workspaceBytes } from "../device/workspace.ts";
import { transformerBytes } from "../model/forward.ts";
import { cacheBytes } from "../model/layer_cache.ts";
import { poolBytes, type PoolTokens } from "../model/kv_pools.ts";
import { layerPools, type ModelShape } from "../model/model_shape.ts";
import { kvFormat, type Precision } from "../model/precision.ts";
import { weightBytes } from "../model/weight_upload.ts";
import { DECODE_QUERY_TOKENS } from "../ops/attention_decode.ts";
import { partElements } from "../ops/merge_states.ts";
import { PLANNED_LANES, sendingPays } from "../star/anchor_stream.ts";
import { type BlockLayout, type ContextBlock, layOutBlocks, tokensIn } from "../star/blocks.ts";
import { keptTokens } from "../star/kept_tokens.ts";
import { chunkCount } from "../star/sequence_chunk.ts";
import { queryChunk } from "../star/step.ts";

/** What is to run. */
export interface MemoryQuestion {
  readonly config: ModelShape;
  readonly precision: Precision;
  readonly plan: CheckedPlan;
  readonly ranks: number;
  /** The longest chunk. */
  readonly chunkTokens: number;
  readonly contextTokens: number;
  /** Tokens of query and answer. */
  readonly room: number;
  /** Those of the query. @default {room} */
  readonly queryTokens?: number | undefined;
  /** GPUs over which the layers of each rank are spread. @default {1} */
  readonly gpuCount?: number;
  /** Sequences of this length at once. @default {1} */
  readonly batchSize?: number | undefined;
  /** Whether each is asked one query only: see `keptTokens()`. @default {false} */
  readonly isAskedOnce?: boolean | undefined;
  /** Whether tiles are measured, as `calibrate` does, in place of being selected. @default {false} */
  readonly withCurves?: boolean | undefined;
  /**
   * Whether weights are used where their files are mapped: the system can give such pages up.
   *
   * @default {false}
   */
  readonly mapsWeights?: boolean;
  /** Bytes of weights that are mapped, and converted into memory of each rank. @default {0} */
  readonly convertedBytes?: number | undefined;
}

/** Bytes of one GPU of the rank that needs most, by what they are for. */
export interface MemoryNeed {
  readonly weights: number;
  /** Keys and values of the GPU's layers: of the rank's blocks, and of its anchor. */
  readonly cache: number;
  /** Activations of a chunk, selection, the parts of an exchange, what libraries take. */
  readonly working: number;
}

/** No chunk is made shorter for want of memory: below it products are far from their rate. */
const SHORTEST_CHUNK = 512;
/** What the libraries take besides: kernels' working memory, graphs, code. */
export const RESERVE_BYTES = 256 * 2 ** 20;
/** The largest share of what the weights leave that a chunk's activations may take. */
const WORKING_SHARE = 1 / 4;

/**
 * The longest chunk of a device: as its kind likes it, but on a GPU no more than memory allows.
 *
 * @param freeBytes What the rank may use of each GPU that its layers are spread over; undefined
 * where memory is the host's.
 */
export function chunkTokensFor(
  device: DeviceTraits,
  options: {
    config: ModelShape;
    precision: Precision;
    freeBytes: readonly number[] | undefined;
  },
): number {
  const { config, precision, freeBytes } = options;
  let tokens = device.chunkTokens;
  if (freeBytes === undefined) return tokens;
  const ranges = splitLayers(config.layerCount, { count: freeBytes.length });
  const left = ranges.map((range, gpu) =>
    Math.max(0, (freeBytes[gpu] ?? 0) - weightBytes(config, { precision, range }))
  );
  while (
    tokens > SHORTEST_CHUNK &&
    transformerBytes(device, { config, precision, tokens }) > Math.min(...left) * WORKING_SHARE
  ) tokens /= 2;
  return tokens;
}

/** What each of a rank's GPUs needs, of the rank that needs most there. */
export function memoryNeeds(device: DeviceTraits, asked: MemoryQuestion): MemoryNeed[] {
  const { config, precision, plan, contextTokens, ranks, gpuCount = 1 } = asked;
  const { room, queryTokens = room, chunkTokens: maxTokens } = asked;
  // A query that is scored as a whole makes all chunks as long.
  const chunkTokens = Math.max(maxTokens, queryChunk({ plan, queryTokens, maxTokens }));
  const question = { ...asked, chunkTokens };
  const layout = layOutBlocks(plan, { contextTokens, ranks });
  return splitLayers(config.layerCount, { count: gpuCount }).map((range) => {
    const needs = layout.blocksByRank.map((blocks, rank) =>
      rankNeed(device, { question, layout, blocks, rank, range })
    );
    const largest = needs.reduce((a, b) => totalBytes(b) > totalBytes(a) ? b : a);
    const weights = question.mapsWeights === true
      ? question.convertedBytes ?? 0
      : weightBytes(config, { precision, range });
    return { ...largest, weights };
  });
}

/** All of a need. */
export function totalBytes({ weights, cache, working }: MemoryNeed): number {
  return weights + cache + working;
}

function rankNeed(
  device: DeviceTraits,
  options: {
    question: MemoryQuestion;
    layout: BlockLayout;
    blocks: readonly ContextBlock[];
    rank: number;
    range: LayerRange;
  },
): MemoryNeed {
  const { question, layout, blocks, rank, range } = options;
  const { config, precision, plan, chunkTokens, room, batchSize = 1 } = question;
  const { kvHeads, headDim, queryHeads } = config;
  const { cut, selection } = plan;
  const isRing = cut.kind === "parts";
  const longest = Math.max(...layout.blocksByRank.map(tokensIn));
  const format = kvFormat(precision);
  const { dtype, readDtype } = format;
  const kept = keptTokens({ ...question, device, layout, rank });
  const hasMeans = plan.decodeKeep !== undefined;
  const cacheOf = (tokens: PoolTokens) => poolBytes(config, { dtype, range, tokens, hasMeans });
  const sizes = { layers: 1, kvHeads, headDim };
  const layerBytes = (tokens: number) => cacheBytes({ ...sizes, tokens, dtype });
  const gatheredBytes = (tokens: number) => cacheBytes({ ...sizes, tokens, dtype: readDtype });
  const step = Math.max(1, Math.min(chunkTokens, room));
  const part = 4 * partElements({ tokens: step, heads: queryHeads, headDim });
  const activations = transformerBytes(device, { config, precision, tokens: chunkTokens });
  let working = RESERVE_BYTES + activations + 4 * (batchSize - 1) * config.vocabularySize;
  // Between GPUs of their own the anchor may be sent: a packed layer, and chunks side by side.
  if (!device.hasHostMemory && sendingPays(layout)) {
    working += layerBytes(layout.anchorTokens);
    const anchorChunks = chunkCount(layout.anchorTokens, { maxTokens: chunkTokens });
    working += (Math.min(PLANNED_LANES, anchorChunks) - 1) * activations;
  }
  if (layout.blocksByRank.length > 1) working += (question.ranks + 1) * part;
  if (question.ranks > 1) {
    const row = 4 * partElements({ tokens: 1, heads: queryHeads, headDim });
    working += (question.ranks + 1) * batchSize * row;
  }
  // Lists of tiles, and what they are chosen by: of a batch, and of a chunk of the query.
  if (hasMeans) {
    const lists = batchSize + Math.ceil(step / DECODE_QUERY_TOKENS);
    working += 8 * lists * kvHeads * Math.ceil((longest + room) / TILE_TOKENS + 1);
  }
  if (isRing) {
    working += transformerBytes(device, { config, precision, tokens: Math.max(1, longest) });
  }
  const own = tokensIn(blocks);
  if (isRing && dropsKeys(config, { range, kept: kept.own, own })) working += layerBytes(own);
  working += expandedBytes({ ...sizes, ...format }, segmentTokens(plan, { layout, kept, blocks }));
  if (isRing && layout.blocksByRank.length > 1) {
    working += (1 + 2 * question.ranks) * gatheredBytes(longest) / 2;
    const sizes = { tokens: QUERY_TOKENS, heads: queryHeads, headDim };
    if (selection === undefined) working += 4 * layout.blocksByRank.length * partElements(sizes);
  }
  working += selectionBytes(device, { question, layout, blocks });
  return {
    weights: 0,
    cache: batchSize * (cacheOf(kept.own) + cacheOf(kept.anchor)),
    working,
  };
}

/**
 * The longest segments of keys that a rank reads: its own, all of them while a layer of a part is
 * computed, and the anchor's.
 */
export function segmentTokens(
  plan: CheckedPlan,
  rank: {
    layout: BlockLayout;
    /** Of each pool. */
    kept: { own: PoolTokens };
    blocks: readonly ContextBlock[];
  },
): SegmentTokens {
  const { layout, kept, blocks } = rank;
  const part = plan.cut.kind === "parts" ? tokensIn(blocks) : 0;
  return { own: Math.max(part, ...kept.own), prefix: layout.anchorTokens };
}

/** What measuring tiles takes: two masses of each, and the log-sum-exp of each query. */
function curveBytes(
  mass: readonly number[],
  { withCurves, chunkTokens, config: { queryHeads } }: MemoryQuestion,
): number {
  return withCurves === true ? 8 * elements(mass) + 4 * chunkTokens * queryHeads : 0;
}

/** What choosing tiles takes, and the means of those that are not chosen. */
function selectionBytes(
  device: DeviceTraits,
  options: { question: MemoryQuestion; layout: BlockLayout; blocks: readonly ContextBlock[] },
): number {
  const { question, layout, blocks } = options;
  const { config, precision, plan, chunkTokens } = question;
  const { readDtype: dtype } = kvFormat(precision);
  const { kvHeads, headDim, queryHeads, layerCount } = config;
  const { cut, selection } = plan;
  if (selection === undefined) return 0;
  const restBytes = (queryTokens: number, keyTokens: number, keptLayers = 0): number => {
    const outDtype = precision.activations;
    const sizes = { queryHeads, kvHeads, headDim, queryTokens, keyTokens, outDtype };
    if (selection.rest !== "mean") return 0;
    const kept = workspaceBytes([keptMeansTensor(device, sizes)]);
    const scratch = restTensors(device, sizes, { keepsMeans: keptLayers > 0 });
    return 2 * keptLayers * kept + workspaceBytes(scratch);
  };
  if (cut.kind === "parts") {
    const endTokens = blocks.at(-1)?.end ?? 0;
    const { cells } = selectedRingShapes({ kvHeads, queryHeads, headDim, endTokens });
    const [heads = 0, rowTiles = 0] = cells;
    const all = { layers: 1, kvHeads, headDim, tokens: endTokens, dtype };
    return cacheBytes(all) + 8 * elements(cells) + restBytes(QUERY_TOKENS, endTokens) +
      4 * ringChunks(blocks).length * layerCount * heads * rowTiles;
  }
  const lengths = blocks.map(({ start, end }) => end - start);
  const keyTokens = layout.anchorTokens + Math.max(...lengths);
  const { mass } = selectionTensors({ queryHeads, queryTokens: chunkTokens, keyTokens });
  const queryTiles = Math.ceil(Math.max(layout.anchorTokens, ...lengths) / TILE_TOKENS);
  return 8 * elements(mass) + curveBytes(mass, question) +
    restBytes(chunkTokens, keyTokens, layerCount) +
    4 * layerCount * queryHeads * queryTiles;
}

/** Whether some of the layers keep less than a rank's part: it lies elsewhere while it is computed. */
function dropsKeys(
  config: ModelShape,
  part: { range: LayerRange; kept: PoolTokens; own: number },
): boolean {
  const { range: { firstLayer, endLayer }, kept, own } = part;
  const isHere = (layer: number) => layer >= firstLayer && layer < endLayer;
  return layerPools(config).some(({ layers }, pool) =>
    (kept[pool] ?? 0) < own && layers.some(isHere)
  );
}

function elements(shape: readonly number[]): number {
  return shape.reduce((product, extent) => product * extent, 1);
}
