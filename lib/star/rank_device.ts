/**
 * The device of one rank among several: GPUs are dealt evenly, and all ranks learn who has which.
 *
 * @module
 */
import type { Collective } from "../collective/collective.ts";
import type { Device } from "../device/device.ts";
import { countGpus, type DeviceKind, openDevice } from "../device/open.ts";

/** A rank's place on its machine. */
export interface LocalPlace {
  readonly localRank: number;
  readonly localSize: number;
}

/** An opened device, and what the other ranks have. */
export interface RankDevice {
  readonly device: Device;
  /** Memory that is this rank's part of what is free; undefined where it is the host's. */
  readonly freeBytes: number | undefined;
  /** Whether every rank has a GPU of its own: only then can NCCL connect them. */
  readonly hasOwnGpu: boolean;
}

/** A GPU's UUID as the ranks exchange it. */
const UUID_BYTES = 16;

/** The number of the GPU of a rank: GPU by GPU, and around again when there are more ranks. */
export function gpuOf(place: LocalPlace, gpuCount: number): number {
  return place.localRank % Math.max(1, gpuCount);
}

/**
 * What lets each of some child processes see its GPU only; undefined where there is only one.
 *
 * A process that sees several may use memory of the first one, too, when another of its threads waits.
 *
 * @throws {DeviceError} If there is no GPU.
 */
export function gpuEnvironments(
  size: number,
): ((rank: number) => Readonly<Record<string, string>>) | undefined {
  const gpuCount = countGpus();
  const names = visibleGpus(gpuCount);
  if (gpuCount < 2 || names === undefined) return undefined;
  return (localRank) => {
    const name = names[gpuOf({ localRank, localSize: size }, gpuCount)];
    return name === undefined ? {} : { [VISIBLE]: name };
  };
}

const VISIBLE = "CUDA_VISIBLE_DEVICES";

/** The names of the GPUs that this process sees; undefined if it may not know. */
function visibleGpus(gpuCount: number): readonly string[] | undefined {
  const { state } = Deno.permissions.querySync({ name: "env", variable: VISIBLE });
  if (state !== "granted") return undefined;
  const named = (Deno.env.get(VISIBLE) ?? "").split(",").filter((name) => name !== "");
  if (named.length > 0) return named.slice(0, gpuCount);
  return Array.from({ length: gpuCount }, (_, gpu) => String(gpu));
}

/**
 * Opens the device of a rank; all ranks must do so at the same time.
 *
 * @param options `host`: exchanges among the ranks; absent for one that is alone.
 * @throws {DeviceError} If it cannot be used.
 * @throws {WorkerError} If another rank is lost.
 */
export async function openRankDevice(
  options: {
    kind: DeviceKind;
    threads: number;
    place: LocalPlace;
    host: Collective | undefined;
  },
): Promise<RankDevice> {
  const { kind, threads, place, host } = options;
  const ordinal = kind === "cuda" ? gpuOf(place, countGpus()) : 0;
  const device = await openDevice({ kind, threads, ordinal });
  const { uuid, freeBytes } = device;
  if (uuid === undefined || freeBytes === undefined) {
    return { device, freeBytes: undefined, hasOwnGpu: false };
  }
  try {
    const all = host === undefined ? [uuid] : await exchangeUuids(host, uuid);
    const sharers = all.filter((other) => other === uuid).length;
    // The exchange is also the moment from which on somebody may load.
    return {
      device,
      freeBytes: freeBytes / sharers,
      hasOwnGpu: new Set(all).size === all.length,
    };
  } catch (error) {
    device[Symbol.dispose]();
    throw error;
  }
}

async function exchangeUuids(host: Collective, uuid: string): Promise<string[]> {
  const own = new Uint8Array(UUID_BYTES);
  own.set(Uint8Array.fromHex(uuid));
  const all = new Uint8Array(host.size * UUID_BYTES);
  await host.allGather(own, all);
  return Array.from(
    { length: host.size },
    (_, rank) => all.subarray(rank * UUID_BYTES, (rank + 1) * UUID_BYTES).toHex(),
  );
}
