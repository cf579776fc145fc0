/**
 * The error classes that callers can tell apart, and the exit code of each.
 *
 * Built-in classes carry the rest: `TypeError` (wrong type or shape), `RangeError` (a number out of
 * its range) and `SyntaxError` (a file that cannot be parsed).
 *
 * @module
 */

/** What a process that ends with this program's exit codes means by them. */
export const EXIT_CODES = {
  done: 0,
  bug: 1,
  usage: 2,
  file: 3,
  device: 4,
  workerLost: 5,
  interrupted: 130,
} as const;

/** A flag, an option or a combination of them that cannot be used. */
export class UsageError extends Error {
  /** The class's name. */
  override name = "UsageError";
}

/**
 * A request that a loaded model cannot take, for example an empty query or a prompt that is too
 * long. It is refused before anything of it is computed, and the model goes on.
 */
export class RequestError extends RangeError {
  /** The class's name. */
  override name = "RequestError";
}

/** A model, data or result file that is missing, damaged or not writable. */
export class FileError extends Error {
  /** The class's name. */
  override name = "FileError";
}

/** The kernel library or the device cannot be used. */
export class DeviceError extends Error {
  /** The class's name. */
  override name = "DeviceError";
}

/** A kernel refused its arguments or failed. */
export class KernelError extends DeviceError {
  /** The class's name. */
  override name = "KernelError";
  /** The C symbol that failed. */
  readonly op: string;
  /** The status that it returned, as its name in `sx_kernels.h`. */
  readonly status: string;

  /** Makes the error of a call. @param options `op`: the C symbol; `status`: what it returned. */
  constructor(message: string, options: { op: string; status: string }) {
    super(message);
    this.op = options.op;
    this.status = options.status;
  }
}

/** A worker process that died, hung, or spoke another protocol version. */
export class WorkerError extends Error {
  /** The class's name. */
  override name = "WorkerError";
  /** The rank that was lost; -1 when it is not known. */
  readonly rank: number;
  /** What that rank was doing, for example `phase 1`. */
  readonly phase: string;

  /** Makes the error of a loss. @param options `rank`: -1 if unknown; `phase`: what it was doing. */
  constructor(
    message: string,
    options: { rank: number; phase: string; cause?: unknown },
  ) {
    super(message, options.cause === undefined ? {} : { cause: options.cause });
    this.rank = options.rank;
    this.phase = options.phase;
  }
}

/** A broken assumption inside this program. Nobody catches it. */
export class InvariantError extends Error {
  override name = "InvariantError";
}

/**
 * Throws if a condition that this program itself guarantees does not hold.
 *
 * @param condition What must hold.
 * @param message What it means when it does not.
 * @throws {InvariantError} If `condition` is false.
 */
export function invariant(
  condition: unknown,
  message: string,
): asserts condition {
  if (!condition) throw new InvariantError(message);
}

/** The text of a caught value, for use inside another message. */
export function errorText(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
