/**
 * The exchange of device memory among ranks, in its three ways: in the order of a GPU's ops (NCCL),
 * in place where device memory is host memory, and else by way of host memory.
 *
 * @module
 */
import type { Device, Region } from "../device/device.ts";
import type { Tensor } from "../device/tensor.ts";
import type {
  BroadcastOptions,
  Collective,
  CollectiveOptions,
  DeviceExchange,
} from "./collective.ts";

/** The exchange of a device's memory among a collective's ranks. */
export function exchangeOn(collective: Collective, device: Device): DeviceExchange {
  const own = collective.exchangeOn?.(device);
  if (own !== undefined) return own;
  return device.hasHostMemory
    ? new InPlaceExchange(collective, device)
    : new HostExchange(collective, device);
}

/**
 * Gives every rank the tensors of all ranks, one after the other.
 *
 * @param options `part`: this rank's, contiguous; `out`: contiguous, as large as all parts.
 * @throws As `Collective.allGather()`.
 */
export async function gatherTensors(
  exchange: DeviceExchange,
  options: { part: Tensor; out: Tensor },
): Promise<void> {
  await exchange.allGatherRegions(options.part, options.out);
}

/** Memory that host and device share is exchanged where it lies, after the ops that touch it. */
class InPlaceExchange implements DeviceExchange {
  readonly canBeRecorded = false;
  readonly size: number;
  readonly #collective: Collective;
  readonly #device: Device;

  constructor(collective: Collective, device: Device) {
    this.#collective = collective;
    this.#device = device;
    this.size = collective.size;
  }

  async allGatherRegions(part: Region, out: Region, options?: CollectiveOptions): Promise<void> {
    await this.#device.kernels.idle();
    await this.#collective.allGather(part.hostBytes(), out.hostBytes(), options);
  }

  async broadcastRegion(data: Region, options: BroadcastOptions): Promise<void> {
    await this.#device.kernels.idle();
    await this.#collective.broadcast(data.hostBytes(), options);
  }

  /** Nothing is recorded. */
  watchRecorded(): void {}
}

/** Device memory by way of the host's. */
class HostExchange implements DeviceExchange {
  readonly canBeRecorded = false;
  readonly size: number;
  readonly #collective: Collective;
  readonly #device: Device;

  constructor(collective: Collective, device: Device) {
    this.#collective = collective;
    this.#device = device;
    this.size = collective.size;
  }

  async allGatherRegions(part: Region, out: Region, options?: CollectiveOptions): Promise<void> {
    const all = new Uint8Array(out.byteLength);
    await this.#collective.allGather(await this.#device.download(part), all, options);
    await this.#device.upload(out, all);
  }

  async broadcastRegion(data: Region, options: BroadcastOptions): Promise<void> {
    const isRoot = this.#collective.rank === options.root;
    const bytes = isRoot ? await this.#device.download(data) : new Uint8Array(data.byteLength);
    await this.#collective.broadcast(bytes, options);
    if (!isRoot) await this.#device.upload(data, bytes);
  }

  /** Nothing is recorded. */
  watchRecorded(): void {}
}
