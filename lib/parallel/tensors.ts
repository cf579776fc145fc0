/**
 * The exchange of tensors: in place where a collective can read the device's memory or the device
 * is the CPU, else by way of host memory.
 *
 * @module
 */
import type { Region } from "../device/device.ts";
import type { Tensor } from "../device/tensor.ts";
import type { BroadcastOptions, Collective, CollectiveOptions } from "./collective.ts";

/** A collective between devices, on their own memory and in the order of their ops. */
export interface DeviceCollective extends Collective {
  /**
   * As `allGather()`, on device memory; ops that are started later see the result.
   *
   * @throws As `allGather()`.
   */
  allGatherRegions(part: Region, out: Region, options?: CollectiveOptions): Promise<void>;
  /** As `broadcast()`, on device memory; ops that are started later see the result. */
  broadcastRegion(data: Region, options: BroadcastOptions): Promise<void>;
  /**
   * Begins to watch exchanges that were recorded and are started again: they end in time, or the
   * run does.
   *
   * @throws {WorkerError} If a rank is lost.
   */
  watchRecorded(): void;
}

/** Whether a collective takes device memory. */
export function isDeviceCollective(collective: Collective): collective is DeviceCollective {
  return "allGatherRegions" in collective;
}

/**
 * Gives every rank the tensors of all ranks, one after the other.
 *
 * @param options `part`: this rank's, contiguous; `out`: contiguous, as large as all parts. On the
 * CPU all ops that touch them must have been awaited.
 * @throws As `Collective.allGather()`.
 */
export async function gatherTensors(
  collective: Collective,
  options: { part: Tensor; out: Tensor },
): Promise<void> {
  const { part, out } = options;
  const { device } = part;
  if (isDeviceCollective(collective)) return await collective.allGatherRegions(part, out);
  if (device.kind === "cpu") return await collective.allGather(part.hostBytes(), out.hostBytes());
  const all = new Uint8Array(out.byteLength);
  await collective.allGather(await device.download(part), all);
  await device.upload(out, all);
}
