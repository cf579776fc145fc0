/**
 * The devices of one rank among several: GPUs are dealt evenly, and all ranks learn who has which.
 *
 * A rank uses as many of its GPUs as the model and the expected context need, or as it is told.
 *
 * @module
 */
import type { Collective } from "../parallel/collective.ts";
import type { Device } from "../device/device.ts";
import { type DeviceKind, listGpus, openDevice } from "../device/open.ts";
import { environmentVariable, mayReadVariable } from "../environment.ts";
import { DeviceError } from "../errors.ts";
import type { RowsSetName } from "../ffi/status.ts";
import { optionError } from "../options.ts";

/** Opened devices, and what the other ranks have. */
export interface RankDevices {
  /** In the order of the layers. */
  readonly devices: readonly Device[];
  /** Memory of each that is this rank's part of what is free; undefined where it is the host's. */
  readonly freeBytes: readonly number[] | undefined;
  /** Whether every rank has GPUs of its own: only then can NCCL connect them. */
  readonly hasOwnGpus: boolean;
  /** GPUs that this rank could use. */
  readonly dealtGpus: number;
}

/** How to open the devices of a rank. */
export interface RankDeviceOptions {
  readonly kind: DeviceKind;
  readonly threads: number;
  /** What multiplies the rows of steps on a CPU, as all ranks are told. */
  readonly rowsSet?: RowsSetName | undefined;
  /** Exchanges among the ranks; absent for one that is alone. */
  readonly host: Collective | undefined;
  /** GPUs to use; undefined takes as few as are enough. */
  readonly gpusPerRank: number | undefined;
  /** The most GPUs that can be used. */
  readonly maxGpus: number;
  /** Whether some GPUs have the memory that is needed. */
  readonly isEnough: (devices: readonly Device[], freeBytes: readonly number[]) => boolean;
}

/** A GPU's UUID as the ranks exchange it. */
const UUID_BYTES = 16;
/** GPUs of a machine that are dealt. */
const MAX_GPUS = 32;

/**
 * The numbers of a process's GPUs: of G that N processes see, floor(G / N) each, in order; what is
 * left over is not used. With more processes than GPUs each has one, around again.
 */
export function gpusOf(
  place: { readonly index: number; readonly count: number },
  gpuCount: number,
): number[] {
  const { index, count } = place;
  const share = Math.floor(gpuCount / count);
  if (share === 0) return [index % Math.max(1, gpuCount)];
  return Array.from({ length: share }, (_, i) => index * share + i);
}

/** Deals to each rank of the GPUs that it sees; those who see the same ones share them evenly. */
export function dealGpus(seen: readonly (readonly string[])[]): number[][] {
  return seen.map((gpus, rank) => {
    const sharers = [...seen.keys()].filter((other) => String(seen[other]) === String(gpus));
    return gpusOf({ index: sharers.indexOf(rank), count: sharers.length }, gpus.length);
  });
}

/**
 * What lets each of some child processes see its GPUs only; undefined where there is only one.
 *
 * A process that sees several may use memory of the first one, too, when another of its threads waits.
 *
 * @throws {DeviceError} If there is no GPU.
 */
export function gpuEnvironments(
  size: number,
): ((rank: number) => Readonly<Record<string, string>>) | undefined {
  const gpuCount = listGpus().length;
  const names = visibleGpus(gpuCount);
  if (gpuCount < 2 || names === undefined) return undefined;
  return (index) => {
    const own = gpusOf({ index, count: size }, gpuCount).flatMap((gpu) => names[gpu] ?? []);
    return { [VISIBLE]: own.join(",") };
  };
}

const VISIBLE = "CUDA_VISIBLE_DEVICES";

/** The names of the GPUs that this process sees; undefined if it may not know. */
function visibleGpus(gpuCount: number): readonly string[] | undefined {
  if (!mayReadVariable(VISIBLE)) return undefined;
  const named = (environmentVariable(VISIBLE) ?? "").split(",").filter((name) => name !== "");
  if (named.length > 0) return named.slice(0, gpuCount);
  return Array.from({ length: gpuCount }, (_, gpu) => String(gpu));
}

/**
 * Opens the devices of a rank; all ranks must do so at the same time, and get equally many.
 *
 * @throws {UsageError} If fewer GPUs are dealt than are to be used.
 * @throws {DeviceError} If a device cannot be used.
 * @throws {WorkerError} If another rank is lost.
 */
export async function openRankDevices(options: RankDeviceOptions): Promise<RankDevices> {
  const { kind, threads, rowsSet, host } = options;
  if (kind === "cpu") {
    const device = await openDevice({ kind, threads, rowsSet });
    return { devices: [device], freeBytes: undefined, hasOwnGpus: false, dealtGpus: 1 };
  }
  const own = listGpus().slice(0, MAX_GPUS);
  const seen = host === undefined ? [own] : await exchangeGpus(host, own);
  const dealt = dealGpus(seen);
  const uuids = dealt.flatMap((gpus, rank) => gpus.map((gpu) => seen[rank]?.[gpu] ?? ""));
  const ordinals = dealt[host?.rank ?? 0] ?? [];
  const opener = new RankOpener(options, { ordinals, own, uuids });
  try {
    await opener.openEnough();
    // This is also the moment from which on somebody may load.
    if (host !== undefined) await opener.openAsMany(await mostOf(host, opener.devices.length));
    return {
      devices: opener.devices,
      freeBytes: opener.freeBytes,
      hasOwnGpus: new Set(uuids).size === uuids.length,
      dealtGpus: Math.min(ordinals.length, options.maxGpus),
    };
  } catch (error) {
    for (const device of opener.devices) device[Symbol.dispose]();
    throw error;
  }
}

/** Opens a rank's GPUs one after the other. */
class RankOpener {
  readonly devices: Device[] = [];
  readonly freeBytes: number[] = [];
  readonly #options: RankDeviceOptions;
  /** Of this process: `ordinals` are its GPUs, `own` the UUIDs of all it sees; `uuids` of all ranks. */
  readonly #gpus: { ordinals: readonly number[]; own: readonly string[]; uuids: readonly string[] };

  constructor(
    options: RankDeviceOptions,
    gpus: { ordinals: readonly number[]; own: readonly string[]; uuids: readonly string[] },
  ) {
    this.#options = options;
    this.#gpus = gpus;
  }

  /** As many as are asked for, or as few as are enough. */
  async openEnough(): Promise<void> {
    const { gpusPerRank, maxGpus, isEnough } = this.#options;
    const available = Math.min(this.#gpus.ordinals.length, maxGpus);
    if (gpusPerRank !== undefined && gpusPerRank > available) {
      throw optionError({ action: "spread the layers", name: "gpusPerRank" }, {
        rule: `at most ${available}, the GPUs of each process or the model's layers`,
        value: gpusPerRank,
      });
    }
    await this.openAsMany(gpusPerRank ?? 1);
    if (gpusPerRank !== undefined) return;
    while (this.devices.length < available && !isEnough(this.devices, this.freeBytes)) {
      await this.openAsMany(this.devices.length + 1);
    }
  }

  async openAsMany(count: number): Promise<void> {
    const { kind, threads } = this.#options;
    const { ordinals, own, uuids } = this.#gpus;
    while (this.devices.length < count) {
      const ordinal = ordinals[this.devices.length];
      if (ordinal === undefined) {
        throw new DeviceError(
          `Cannot spread the layers over ${count} GPUs, which another process needs, as this one ` +
            `must have as many: current value is ${ordinals.length}`,
        );
      }
      const device = await openDevice({ kind, threads, ordinal });
      this.devices.push(device);
      const sharers = uuids.filter((uuid) => uuid === own[ordinal]).length;
      this.freeBytes.push((device.freeBytes ?? 0) / Math.max(1, sharers));
    }
  }
}

/** The UUIDs of the GPUs that each rank sees. */
async function exchangeGpus(host: Collective, own: readonly string[]): Promise<string[][]> {
  const part = new Uint8Array(MAX_GPUS * UUID_BYTES);
  own.forEach((uuid, gpu) => part.set(Uint8Array.fromHex(uuid), gpu * UUID_BYTES));
  const all = new Uint8Array(host.size * part.length);
  await host.allGather(part, all);
  return Array.from({ length: host.size }, (_, rank) => {
    const start = rank * part.length;
    const uuids = Array.from(
      { length: MAX_GPUS },
      (_, gpu) => all.subarray(start + gpu * UUID_BYTES, start + (gpu + 1) * UUID_BYTES).toHex(),
    );
    // No GPU has zeros.
    return uuids.filter((uuid) => /[^0]/.test(uuid));
  });
}

/** The largest of the ranks' numbers: see {@linkcode numbersOf}. */
async function mostOf(host: Collective, own: number): Promise<number> {
  return Math.max(...await numbersOf(host, own));
}

/**
 * The smallest of the ranks' numbers, for what has to be alike on all: they must call it together.
 *
 * @param own A whole number below 2 ** 32.
 * @throws {WorkerError} If another rank is lost.
 */
export async function leastOf(host: Collective, own: number): Promise<number> {
  return Math.min(...await numbersOf(host, own));
}

/** The ranks' numbers, which are whole and below 2 ** 32. */
async function numbersOf(host: Collective, own: number): Promise<Uint32Array> {
  const all = new Uint32Array(host.size);
  await host.allGather(new Uint8Array(Uint32Array.of(own).buffer), new Uint8Array(all.buffer));
  return all;
}
