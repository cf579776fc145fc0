/**
 * What a run needs of GPUs' memory against what they have: refused before it is taken, with what would
 * fit.
 *
 * @module
 */
import { checkPlan, modeOf } from "../attention/plan.ts";
import type { Device, DeviceTraits } from "../device/device.ts";
import { splitLayers } from "../device/stages.ts";
import { DeviceError } from "../errors.ts";
import { TILE_TOKENS } from "../ffi/symbols.ts";
import { transformerBytes } from "../model/forward.ts";
import { poolBytes, type PoolTokens } from "../model/kv_pools.ts";
import { kvFormat } from "../model/precision.ts";
import {
  chunkTokensFor,
  type MemoryNeed,
  memoryNeeds,
  type MemoryQuestion,
  totalBytes,
} from "./memory_plan.ts";

const GIB = 2 ** 30;

/** What is asked of some GPUs, and what they have. */
export interface MemoryCheck {
  readonly question: Omit<MemoryQuestion, "gpuCount">;
  /** What the rank may use of each GPU; undefined where memory is the host's. */
  readonly freeBytes: readonly number[] | undefined;
  /** Whether weights and activations are there already. */
  readonly loaded: boolean;
  /** Tokens of keys and values that find free pages, in each pool of layers. @default None. */
  readonly reusableTokens?: PoolTokens;
  /**
   * Tokens of each pool that lie twice, of one layer at a time, while the pools grow beside other
   * sequences. @default None.
   */
  readonly movedTokens?: PoolTokens;
  /** What keys of 8 bits are expanded into, as far as it is there already. @default {0} */
  readonly readerBytes?: number | undefined;
  /** GPUs that the layers could be spread over; by default those that they are. */
  readonly dealtGpus?: number | undefined;
}

/**
 * Refuses what will not fit.
 *
 * @param devices Those of the rank, in the order of the layers; named in the message.
 * @throws {DeviceError} If it does not fit: with what is needed and free, and what would fit.
 */
export function checkMemory(
  devices: readonly (DeviceTraits & Pick<Device, "description">)[],
  check: MemoryCheck,
): void {
  const { freeBytes, loaded, dealtGpus = devices.length } = check;
  if (freeBytes === undefined) return;
  const question = { ...check.question, gpuCount: devices.length };
  const fullest = (other: MemoryQuestion) => findShortage(devices, { ...check, question: other });
  const shortage = fullest(question);
  if (shortage === undefined) return;
  const { device, need, there, free } = shortage;
  const gib = (bytes: number) => `${(bytes / GIB).toFixed(2)} GiB`;
  const { contextTokens, room } = question;
  const what = contextTokens === 0 ? "load the model" : `run ${contextTokens + room} tokens`;
  const whose = devices.length === 1 ? "its memory" : `the memory of ${device.description}`;
  const more = dealtGpus > devices.length
    ? `; 'gpusPerRank' spreads the layers over up to ${dealtGpus} GPUs`
    : "";
  throw new DeviceError(
    `Cannot ${what} on ${devices.map(({ description }) => description).join(" and ")} as ` +
      `${gib(totalBytes(need) - there)} of ${whose} must be free (weights ${
        gib(need.weights)
      }, keys and ` +
      `values ${gib(need.cache)}, working memory ${gib(need.working)}` +
      `${loaded ? `, of which ${gib(there)} are in use` : ""}): current value is ` +
      `${gib(free)}; ${whatFits(question, (other) => fullest(other) === undefined)}${more}`,
  );
}

/** The first GPU that has too little. */
function findShortage<T extends DeviceTraits>(
  devices: readonly T[],
  options: Omit<MemoryCheck, "question"> & { question: MemoryQuestion },
): { device: T; need: MemoryNeed; there: number; free: number } | undefined {
  const { question, freeBytes, loaded, readerBytes = 0 } = options;
  const { reusableTokens = [], movedTokens = [] } = options;
  const [first] = devices;
  if (first === undefined || freeBytes === undefined) return undefined;
  const { config, precision, chunkTokens: tokens } = question;
  const needs = memoryNeeds(first, { ...question, gpuCount: devices.length });
  for (const [gpu, device] of devices.entries()) {
    const [planned, free = 0] = [needs[gpu], freeBytes[gpu]];
    if (planned === undefined) return undefined;
    const place = { gpu, gpuCount: devices.length };
    const moved = Math.max(0, ...layerBytes(question, { tokens: movedTokens, ...place }));
    const need = { ...planned, working: planned.working + moved };
    const there = !loaded ? 0 : need.weights + readerBytes +
      transformerBytes(device, { config, precision, tokens }) +
      total(layerBytes(question, { tokens: reusableTokens, ...place }));
    if (totalBytes(need) - there > free) return { device, need, there, free };
  }
  return undefined;
}

/** What pages for tokens of each pool take in each layer on one GPU. */
function layerBytes(
  { config, plan, precision }: MemoryQuestion,
  options: { tokens: PoolTokens; gpu: number; gpuCount: number },
): number[] {
  const { tokens, gpu, gpuCount } = options;
  const range = splitLayers(config.layerCount, { count: gpuCount })[gpu];
  if (range === undefined) return [];
  const { firstLayer, endLayer } = range;
  const hasMeans = plan.decodeKeep !== undefined;
  const { dtype } = kvFormat(precision);
  return Array.from({ length: endLayer - firstLayer }, (_, i) => {
    const range = { firstLayer: firstLayer + i, endLayer: firstLayer + i + 1 };
    return poolBytes(config, { range, dtype, tokens, hasMeans });
  });
}

function total(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0);
}

/** Whether a question fits on some GPUs before anything is loaded, with the chunks they allow. */
export function fitsOn(
  devices: readonly DeviceTraits[],
  options: { question: Omit<MemoryQuestion, "chunkTokens">; freeBytes: readonly number[] },
): boolean {
  const { freeBytes } = options;
  const [first] = devices;
  if (first === undefined) return false;
  const chunkTokens = chunkTokensFor(first, { ...options.question, freeBytes });
  const question = { ...options.question, chunkTokens };
  return findShortage(devices, { question, freeBytes, loaded: false }) === undefined;
}

/** The longest context, and the largest block, that would fit. */
function whatFits(question: MemoryQuestion, fits: (other: MemoryQuestion) => boolean): string {
  const { plan, contextTokens, room } = question;
  const length = largest(contextTokens, (tokens) => fits({ ...question, contextTokens: tokens }));
  const advice = length > 0
    ? `up to ${length + room} tokens fit`
    : "no context fits beside weights and working memory";
  if (plan.cut.kind !== "blocks") return advice;
  const { blockTokens, anchorTokens } = plan.cut;
  const block = largest(blockTokens, (tokens) => {
    const smaller = { blockTokens: tokens, anchorTokens: Math.min(tokens, anchorTokens) };
    const { decodeKeep } = plan;
    const options = { mode: modeOf(plan), ...plan.cut, ...plan.selection, decodeKeep, ...smaller };
    return fits({ ...question, plan: checkPlan(options) });
  });
  return block > 0 ? `${advice}, or this length with 'blockTokens' ${block}` : advice;
}

/** The largest multiple of 128 below a limit that passes; 0 if none does. */
function largest(limit: number, passes: (tokens: number) => boolean): number {
  let low = 0;
  let high = Math.ceil(limit / TILE_TOKENS);
  while (high - low > 1) {
    const middle = Math.floor((low + high) / 2);
    if (passes(middle * TILE_TOKENS)) low = middle;
    else high = middle;
  }
  return low * TILE_TOKENS;
}
