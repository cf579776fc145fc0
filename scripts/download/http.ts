/**
 * What all requests share: which failures another attempt may overcome, and how long is waited.
 *
 * @module
 */
import { FileError } from "../../lib/errors.ts";

/** How long a download is tried. */
export interface Patience {
  /** Attempts in a row that bring nothing new. */
  readonly attempts: number;
  /** The pause after the first failure; it doubles with each further one. */
  readonly firstDelayMs: number;
  /** A connection without a byte for so long is given up. */
  readonly stallMs: number;
}

/** What people with an ordinary connection need. */
export const DEFAULT_PATIENCE: Patience = { attempts: 6, firstDelayMs: 1000, stallMs: 60_000 };

/** A failure that another attempt may overcome. */
export class TransferError extends FileError {
  override name = "TransferError";
}

/**
 * Waits before the next attempt: twice as long after every further failure.
 *
 * @param patience How long the first pause is.
 * @param options How many attempts in a row failed, at least 1.
 */
export async function pause(
  patience: Patience,
  options: { failureCount: number },
): Promise<void> {
  const delayMs = patience.firstDelayMs * 2 ** (options.failureCount - 1);
  await new Promise((resolve) => setTimeout(resolve, delayMs));
}

/**
 * The error for a response that brings no content.
 *
 * @param response Its status is none of success.
 * @param options What was asked for.
 * @returns A {@linkcode TransferError} if another attempt may bring it.
 */
export function refusal(
  response: Response,
  options: { address: string; label: string },
): FileError {
  const { status, statusText } = response;
  const hint = status === 401 || status === 403
    ? "; access must be granted, or a token given with --token"
    : "";
  const message = `Cannot download ${options.label}: ${options.address} answers ${status} ` +
    `${statusText}`.trimEnd() + hint;
  const isTemporary = status === 408 || status === 425 || status === 429 || status >= 500;
  return isTemporary ? new TransferError(message) : new FileError(message);
}

/** Aborts a request that brings nothing for some time. */
export class StallWatch implements Disposable {
  readonly #abort = new AbortController();
  readonly #stallMs: number;
  #timer: ReturnType<typeof setTimeout>;
  #reason: string | undefined;

  /** Starts to watch; `reset()` tells that something came. */
  constructor(stallMs: number) {
    this.#stallMs = stallMs;
    this.#timer = this.#start();
  }

  /** For the request. */
  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  /** Why it aborted; undefined while it did not. */
  get reason(): string | undefined {
    return this.#reason;
  }

  /** Starts the time again. */
  reset(): void {
    clearTimeout(this.#timer);
    this.#timer = this.#start();
  }

  /** Stops to watch. */
  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
  }

  #start(): ReturnType<typeof setTimeout> {
    return setTimeout(() => {
      this.#reason = `nothing was received for ${this.#stallMs} ms`;
      this.#abort.abort();
    }, this.#stallMs);
  }
}
