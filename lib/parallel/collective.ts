/**
 * How the ranks of one run exchange bytes: the interface, and what every implementation checks.
 *
 * Star Attention (arXiv 2411.17116, section 2.2) needs one all-gather per layer in phase 2: each
 * rank's partial attention output and its log-sum-exp.
 *
 * @module
 */
import type { Device, Region } from "../device/device.ts";
import { WorkerError } from "../errors.ts";

/** What each operation takes. */
export interface CollectiveOptions {
  /** The longest wait for a rank that makes no progress; by default the collective's own. */
  timeoutMs?: number;
}

/** What a broadcast takes. */
export interface BroadcastOptions extends CollectiveOptions {
  /** The rank whose data all others receive. */
  root: number;
}

/**
 * One rank's end of a group; all ranks must call the same operations in the same order.
 *
 * After a `WorkerError` the group is out of step: abort or close it.
 */
export interface Collective extends Disposable {
  /** This process's number, from 0. */
  readonly rank: number;
  /** The number of ranks. */
  readonly size: number;
  /** What carries device memory, for people; absent where host memory is carried alone. */
  readonly carrier?: string | undefined;

  /**
   * Gives every rank the parts of all ranks.
   *
   * @param part This rank's bytes; equally many on every rank.
   * @param out Receives `size * part.byteLength` bytes in rank order; may not overlap `part`.
   * @throws {RangeError} If `out` has another length.
   * @throws {WorkerError} If a rank is lost, makes no progress, or calls another operation.
   * @throws {TypeError} If the collective is closed or another operation is under way.
   */
  allGather(part: Uint8Array, out: Uint8Array, options?: CollectiveOptions): Promise<void>;

  /**
   * Gives every rank the bytes of one rank.
   *
   * @param data Read at the root, overwritten at the others; equally long on every rank.
   * @throws As `allGather()`; {RangeError} if there is no such root.
   */
  broadcast(data: Uint8Array, options: BroadcastOptions): Promise<void>;

  /**
   * Returns when all ranks have called it.
   *
   * @throws As `allGather()`.
   */
  barrier(options?: CollectiveOptions): Promise<void>;

  /** The exchange of a device's memory in the order of its ops, where there is one. */
  exchangeOn?(device: Device): DeviceExchange | undefined;

  /** Makes the operations of all ranks, under way or later, throw a `WorkerError`. */
  abort(reason: string): void;

  /** Gives everything back; operations under way throw. A second call does nothing. */
  close(): void;
}

/** One rank's end of the exchanges of a device's memory. */
export interface DeviceExchange {
  readonly size: number;
  /**
   * Whether exchanges are put in the order of the device's ops, like ops: then they can be recorded
   * with them, and whoever starts one waits for nothing.
   */
  readonly canBeRecorded: boolean;
  /**
   * As `Collective.allGather()`, on device memory; ops that are started later see the result.
   *
   * @throws As `Collective.allGather()`.
   */
  allGatherRegions(part: Region, out: Region, options?: CollectiveOptions): Promise<void>;
  /** As `Collective.broadcast()`, on device memory; ops that are started later see the result. */
  broadcastRegion(data: Region, options: BroadcastOptions): Promise<void>;
  /**
   * Begins to watch exchanges that were recorded and are started again: they end in time, or the
   * run does.
   *
   * @throws {WorkerError} If a rank is lost.
   */
  watchRecorded(): void;
}

/** A `WorkerError` that follows from another rank's: who reports should prefer that one. */
export class AbortedError extends WorkerError {
  override name = "AbortedError";
}

/** Checks that `out` has room for all parts, exactly. */
export function checkGatherLengths(
  part: Uint8Array,
  out: Uint8Array,
  options: { size: number },
): void {
  const expected = options.size * part.byteLength;
  if (out.byteLength !== expected) {
    throw new RangeError(
      `Cannot gather as 'out' must have ${expected} bytes: current value is ${out.byteLength}`,
    );
  }
}

/** Checks that a rank takes part. */
export function checkRoot(root: number, options: { size: number }): void {
  if (!Number.isInteger(root) || root < 0 || root >= options.size) {
    throw new RangeError(
      `Cannot broadcast as 'root' must be a rank below ${options.size}: current value is ${root}`,
    );
  }
}

/** Checks a longest wait. */
export function checkTimeout(timeoutMs: number): number {
  if (!(timeoutMs > 0)) {
    throw new RangeError(
      `Cannot wait as 'timeoutMs' must be positive: current value is ${timeoutMs}`,
    );
  }
  return timeoutMs;
}

/** The error of an operation on a closed collective. */
export function closedError(operation: string): TypeError {
  return new TypeError(`Cannot start ${operation} as the collective is closed`);
}
