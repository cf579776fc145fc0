/**
 * What all requests share: which failures another attempt may overcome, and how long is waited.
 *
 * @module
 */
import { errorText, FileError } from "../../lib/errors.ts";

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

/** What a wrong address, a redirect in a circle, and a certificate that nobody trusts look like. */
const HOPELESS = /invalid url|redirect|certificate|\btls\b|url scheme|not supported/i;

/** A text whose addresses lack user names and passwords. */
export function withoutPassword(text: string): string {
  return text.replaceAll(/(\w+:\/\/)[^\s/@]+@/g, "$1***@");
}

/** A failure that another attempt may overcome. */
export class TransferError extends FileError {
  override name = "TransferError";
}

/**
 * Waits before the next attempt: twice as long after every further failure.
 *
 * @param patience How long the first pause is.
 * @param options How many attempts in a row failed, at least 1; who is told.
 */
export async function pause(
  patience: Patience,
  options: { failureCount: number; label: string; note: (text: string) => void },
): Promise<void> {
  const { failureCount, label, note } = options;
  const delayMs = patience.firstDelayMs * 2 ** (failureCount - 1);
  const next = `attempt ${failureCount + 1} of ${patience.attempts}`;
  note(`${label}: ${next} in ${delayMs / 1000} s`);
  await new Promise((resolve) => setTimeout(resolve, delayMs));
}

/**
 * The error for a response that brings no content.
 *
 * @param response Its status is none of success.
 * @param options What was asked for; `accessHint` says how one is let in.
 * @returns A {@linkcode TransferError} if another attempt may bring it.
 */
export function refusal(
  response: Response,
  options: { address: string; label: string; accessHint?: string | undefined },
): FileError {
  const { status, statusText } = response;
  const { accessHint } = options;
  const isClosed = status === 401 || status === 403;
  const hint = isClosed && accessHint !== undefined ? `; ${accessHint}` : "";
  const address = withoutPassword(options.address);
  const message = `Cannot download ${options.label}: ${address} answers ${status} ` +
    `${statusText}`.trimEnd() + hint;
  const isTemporary = status === 408 || status === 425 || status === 429 || status >= 500;
  return isTemporary ? new TransferError(message) : new FileError(message);
}

/**
 * Requests an address, as many times as it takes.
 *
 * @param address Where it lies.
 * @param read Takes a response of success; whatever it throws but a {@linkcode FileError} counts as
 * a broken connection.
 * @param options How long it is tried, and what is said if it fails.
 * @returns What `read` returns.
 * @throws {FileError} If the server refuses, or no attempt works.
 */
export async function request<T>(
  address: string,
  read: (response: Response) => Promise<T>,
  options: {
    label: string;
    patience: Patience;
    headers?: Readonly<Record<string, string>>;
    accessHint?: string;
    /** Told of each failure that another attempt may overcome. */
    note: (text: string) => void;
  },
): Promise<T> {
  const { label, patience, note } = options;
  for (let failureCount = 1;; failureCount++) {
    using watch = new StallWatch(patience.stallMs);
    try {
      const response = await fetch(address, {
        headers: options.headers ?? {},
        signal: watch.signal,
      });
      if (response.ok) return await read(response);
      await response.body?.cancel();
      throw refusal(response, { ...options, address });
    } catch (error) {
      const failure = transferError(error, { label, reason: watch.reason });
      if (!(failure instanceof TransferError)) throw failure;
      if (failureCount >= patience.attempts) {
        throw new FileError(`${failure.message} (${patience.attempts} attempts)`, { cause: error });
      }
      note(failure.message);
    }
    await pause(patience, { failureCount, label, note });
  }
}

/**
 * What is said about a request that failed.
 *
 * @param error What was caught.
 * @param options The name of what was asked for, and why the request was aborted if it was.
 * @returns A {@linkcode TransferError} if another attempt may work.
 */
export function transferError(
  error: unknown,
  options: { label: string; reason: string | undefined },
): FileError {
  if (error instanceof FileError) return error;
  const text = withoutPassword(options.reason ?? errorText(error));
  const message = `Cannot download ${options.label}: ${text}`;
  // Whoever started this program did not allow it to speak to that host.
  if (error instanceof Deno.errors.NotCapable) return new FileError(message, { cause: error });
  // The next attempt would end in the same way.
  if (options.reason === undefined && HOPELESS.test(text)) {
    return new FileError(message, { cause: error });
  }
  return new TransferError(message, { cause: error });
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
