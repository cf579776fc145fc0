/**
 * The exchange of ranks whose layers are spread over several GPUs: a communicator per GPU, so that
 * the all-gather of a layer is in the order of the stream of the layer's GPU.
 *
 * @module
 */
import type { Device } from "../device/device.ts";
import { WorkerError } from "../errors.ts";
import type {
  BroadcastOptions,
  Collective,
  CollectiveOptions,
  DeviceExchange,
} from "./collective.ts";

/** One rank's end: host memory over one collective, each device's memory over one of its own. */
export class StagedCollective implements Collective {
  readonly rank: number;
  readonly size: number;
  readonly #host: Collective;
  readonly #members: ReadonlyMap<Device, Collective>;

  /** @param members Each is disposed of with this one, before `host`. */
  constructor(host: Collective, members: ReadonlyMap<Device, Collective>) {
    this.rank = host.rank;
    this.size = host.size;
    this.#host = host;
    this.#members = members;
  }

  /** See `Collective.carrier`: all devices' is the same. */
  get carrier(): string | undefined {
    return [...this.#members.values()][0]?.carrier;
  }

  /** See `Collective.exchangeOn()`. */
  exchangeOn(device: Device): DeviceExchange | undefined {
    return this.#members.get(device)?.exchangeOn?.(device);
  }

  async allGather(part: Uint8Array, out: Uint8Array, options?: CollectiveOptions): Promise<void> {
    await this.#onHost(() => this.#host.allGather(part, out, options));
  }

  async broadcast(data: Uint8Array, options: BroadcastOptions): Promise<void> {
    await this.#onHost(() => this.#host.broadcast(data, options));
  }

  async barrier(options?: CollectiveOptions): Promise<void> {
    await this.#onHost(() => this.#host.barrier(options));
  }

  abort(reason: string): void {
    for (const member of this.#members.values()) member.abort(reason);
    this.#host.abort(reason);
  }

  close(): void {
    for (const member of this.#members.values()) member.close();
    this.#host.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /** When a rank is lost, what hangs in any of the devices' streams has to end, too. */
  async #onHost(exchange: () => Promise<void>): Promise<void> {
    try {
      await exchange();
    } catch (error) {
      if (error instanceof WorkerError) this.abort(error.message);
      throw error;
    }
  }
}
