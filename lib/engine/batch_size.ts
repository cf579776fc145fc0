/**
 * How many samples are decoded at once.
 *
 * A step reads all weights once for the whole batch, so that each further sample makes a token of all
 * the others cheaper, until the step computes for longer than it reads. How many samples there is
 * memory for depends on their lengths: the scheduler finds that out as they come.
 *
 * @module
 */
import type { DeviceTraits } from "../device/device.ts";
import { hostMemory } from "../device/host_memory.ts";

/** What may be asked for. */
export const BATCH_RANGE = { min: 1, max: 128 } as const;

/** How many copies of a model may share the samples. */
export const REPLICA_RANGE = { min: 1, max: 64 } as const;

/** The share of a machine's available memory that keys and values of a batch may take. */
const HOST_SHARE = 1 / 2;

/** The widest batch on a kind of device. */
export function batchSizeOn(device: DeviceTraits, wanted: number | "auto"): number {
  return wanted === "auto" ? device.widestBatch : wanted;
}

/** Bytes of host memory that each of some ranks may fill with a batch; infinite if none may ask. */
export function hostBudget(ranks: number): number {
  return (hostMemory()?.availableBytes ?? Infinity) * HOST_SHARE / ranks;
}
