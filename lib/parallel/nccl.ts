/**
 * The collective of GPUs: NCCL for device memory, in the order of the ops of a stream, and another
 * collective (shared memory, MPI) for the few bytes that the host exchanges: tokens, results, the
 * communicator's id.
 *
 * Nothing here blocks. A watch asks NCCL for errors and looks whether an exchange that was started
 * ends in time; when it does not, the communicator is aborted, which ends what hangs in the stream.
 *
 * @module
 */
import type { Device, DeviceStream, Region, StreamMark } from "../device/device.ts";
import { errorText, WorkerError } from "../errors.ts";
import { Nccl, NCCL_ID_BYTES, type NcclCommunicator } from "../ffi/nccl.ts";
import {
  AbortedError,
  type BroadcastOptions,
  checkRoot,
  checkTimeout,
  closedError,
  type Collective,
  type CollectiveOptions,
  type DeviceExchange,
} from "./collective.ts";

/** How to join. */
export interface NcclOptions {
  /** The exchange of host memory among the same ranks; closed with this one. */
  readonly host: Collective;
  /** Where exchanges are put in order with a GPU's ops. */
  readonly stream: DeviceStream;
  /** The library; by default the name that the loader knows. */
  readonly path?: string;
  /** The longest wait for an exchange that was started. */
  readonly timeoutMs: number;
  /** Called once when the run cannot go on, between operations too. */
  readonly onLost?: (error: WorkerError) => void;
}

const POLL_MS = 1;
const WATCH_MS = 50;
/** An exchange is in the stream within some 50 µs, far below the time that a timer takes. */
const SPIN_MS = 2;

/** One rank's end. */
export class NcclCollective implements Collective, DeviceExchange {
  readonly canBeRecorded = true;
  readonly rank: number;
  readonly size: number;
  readonly #host: Collective;
  readonly #stream: DeviceStream;
  readonly #nccl: Nccl;
  readonly #communicator: NcclCommunicator;
  readonly #timeoutMs: number;
  readonly #onLost: (error: WorkerError) => void;
  readonly #watch: ReturnType<typeof setInterval>;
  #pending: { mark: StreamMark; sinceMs: number; timeoutMs: number } | undefined;
  #failure: WorkerError | undefined;
  #closed = false;

  private constructor(
    options: NcclOptions,
    parts: { nccl: Nccl; communicator: NcclCommunicator },
  ) {
    const { host, stream, timeoutMs } = options;
    this.rank = host.rank;
    this.size = host.size;
    this.#host = host;
    this.#stream = stream;
    this.#nccl = parts.nccl;
    this.#communicator = parts.communicator;
    this.#timeoutMs = timeoutMs;
    this.#onLost = options.onLost ?? (() => {});
    this.#watch = setInterval(() => this.#look(), WATCH_MS);
    Deno.unrefTimer(this.#watch);
  }

  /**
   * Joins the ranks of `host`; all of them must do so, each with its own GPU.
   *
   * @throws {DeviceError} If the library cannot be opened.
   * @throws {WorkerError} If NCCL refuses, or a rank is lost.
   */
  static async join(options: NcclOptions): Promise<NcclCollective> {
    const { host, stream: place, path } = options;
    const timeoutMs = checkTimeout(options.timeoutMs);
    const nccl = path === undefined ? new Nccl() : new Nccl(path);
    let communicator: NcclCommunicator | undefined;
    try {
      const id = host.rank === 0 ? nccl.createId() : new Uint8Array(NCCL_ID_BYTES);
      await host.broadcast(id, { root: 0 });
      place.makeCurrent();
      communicator = nccl.connect({ id, rank: host.rank, size: host.size });
      await untilReady(communicator, { timeoutMs, what: "The GPUs did not find each other" });
      return new NcclCollective(options, { nccl, communicator });
    } catch (error) {
      communicator?.abort();
      nccl[Symbol.dispose]();
      host.abort(errorText(error));
      throw error;
    }
  }

  /** For example `NCCL 2.22.3`. */
  get carrier(): string {
    const { version } = this.#nccl;
    return `NCCL ${Math.floor(version / 10_000)}.${Math.floor(version / 100) % 100}.${
      version % 100
    }`;
  }

  /** This one, for the device whose ops it is in order with. */
  exchangeOn(device: Device): DeviceExchange | undefined {
    return device.stream === this.#stream ? this : undefined;
  }

  async allGatherRegions(
    part: Region,
    out: Region,
    options: CollectiveOptions = {},
  ): Promise<void> {
    if (this.#closed) throw closedError("an all-gather");
    const { byteLength } = part;
    const expected = byteLength * this.size;
    if (out.byteLength !== expected || !part.contiguous || !out.contiguous) {
      throw new RangeError(
        `Cannot gather as 'out' must have ${expected} bytes in one piece: ` +
          `current value is ${out.byteLength}`,
      );
    }
    const { handle: stream } = this.#stream;
    const [from, to] = [part.address, out.address];
    await this.#exchange(options, () => {
      this.#communicator.allGather({ from, to, byteLength, stream });
    });
  }

  async broadcastRegion(data: Region, options: BroadcastOptions): Promise<void> {
    if (this.#closed) throw closedError("a broadcast");
    const { root } = options;
    checkRoot(root, this);
    const { byteLength, contiguous, address } = data;
    if (!contiguous) throw new RangeError(`Cannot broadcast '${data.label}' as it has gaps`);
    const { handle: stream } = this.#stream;
    await this.#exchange(options, () => {
      this.#communicator.broadcast({ address, byteLength, root, stream });
    });
  }

  watchRecorded(): void {
    if (this.#failure !== undefined) throw this.#failure;
    this.#mark(this.#timeoutMs);
  }

  async allGather(
    part: Uint8Array,
    out: Uint8Array,
    options?: CollectiveOptions,
  ): Promise<void> {
    await this.#onHost(() => this.#host.allGather(part, out, options));
  }

  async broadcast(data: Uint8Array, options: BroadcastOptions): Promise<void> {
    await this.#onHost(() => this.#host.broadcast(data, options));
  }

  async barrier(options?: CollectiveOptions): Promise<void> {
    await this.#onHost(() => this.#host.barrier(options));
  }

  abort(reason: string): void {
    if (this.#closed) return;
    this.#host.abort(reason);
    this.#communicator.abort();
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    clearInterval(this.#watch);
    this.#pending?.mark[Symbol.dispose]();
    this.#communicator.abort();
    this.#nccl[Symbol.dispose]();
    this.#host.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /**
   * Ends the communicator together with all ranks, then closes.
   *
   * @throws {WorkerError} If a rank is lost.
   */
  async leave(): Promise<void> {
    await this.barrier();
    clearInterval(this.#watch);
    this.#communicator.finalize();
    const what = "The GPUs did not take leave of each other";
    await untilReady(this.#communicator, { timeoutMs: this.#timeoutMs, what });
    this.#communicator.destroy();
    this.close();
  }

  /** When a rank is lost, what hangs in this GPU's stream has to end, too. */
  async #onHost(exchange: () => Promise<void>): Promise<void> {
    if (this.#failure !== undefined && !this.#closed) throw this.#failure;
    try {
      await exchange();
    } catch (error) {
      if (error instanceof WorkerError) this.#end(error);
      throw error;
    }
  }

  /** Puts an exchange into the stream, behind what is there and before what comes next. */
  async #exchange(options: CollectiveOptions, begin: () => void): Promise<void> {
    const timeoutMs = checkTimeout(options.timeoutMs ?? this.#timeoutMs);
    if (this.#failure !== undefined) throw this.#failure;
    try {
      begin();
      // Until then the stream does not have it, and an op that is started would come before it.
      await untilReady(this.#communicator, { timeoutMs, what: "An exchange between GPUs hangs" });
      this.#mark(timeoutMs);
    } catch (error) {
      throw error instanceof WorkerError ? this.#fail(error) : error;
    }
  }

  #mark(timeoutMs: number): void {
    // The oldest exchange that has not ended is the one to watch.
    if (this.#pending !== undefined && !this.#pending.mark.isDone()) return;
    this.#pending?.mark[Symbol.dispose]();
    const mark = this.#stream.mark();
    this.#pending = mark && { mark, sinceMs: performance.now(), timeoutMs };
  }

  #look(): void {
    if (this.#failure !== undefined) return;
    try {
      this.#communicator.isReady();
      const pending = this.#pending;
      if (pending === undefined) return;
      if (pending.mark.isDone()) {
        pending.mark[Symbol.dispose]();
        this.#pending = undefined;
      } else if (performance.now() - pending.sinceMs > pending.timeoutMs) {
        throw hangError("An exchange between GPUs hangs", pending.timeoutMs);
      }
    } catch (error) {
      // After `abort()` there is nothing to look at.
      if (!(error instanceof WorkerError)) return clearInterval(this.#watch);
      this.#onLost(this.#fail(error));
    }
  }

  #fail(error: WorkerError): WorkerError {
    this.#host.abort(error.message);
    this.#end(error);
    return error;
  }

  #end(error: WorkerError): void {
    this.#failure ??= error;
    if (!(error instanceof AbortedError)) this.#host.abort(error.message);
    this.#communicator.abort();
  }
}

/** Polls; the event loop goes on. */
async function untilReady(
  communicator: NcclCommunicator,
  options: { timeoutMs: number; what: string },
): Promise<void> {
  const startMs = performance.now();
  do {
    if (communicator.isReady()) return;
  } while (performance.now() - startMs < SPIN_MS);
  const endMs = startMs + options.timeoutMs;
  while (!communicator.isReady()) {
    if (performance.now() > endMs) throw hangError(options.what, options.timeoutMs);
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

function hangError(what: string, timeoutMs: number): WorkerError {
  return new WorkerError(`${what}: no progress for ${timeoutMs} ms`, {
    rank: -1,
    phase: "unknown",
  });
}
