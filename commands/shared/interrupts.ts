/**
 * What has to end before an interrupted process does.
 *
 * @module
 */
import type { Cleanup } from "./model_session.ts";

const SIGNALS = ["SIGINT", "SIGTERM"] as const;
/** Comes with a write beyond the limit of a file's size, and by itself ends the process. */
const FILE_SIZE_SIGNAL = "SIGXFSZ";
const nothing = (): void => {};
/** Worker processes are gone after 7 s even if they hang; the operating system takes the rest. */
const LIMIT_MS = 8_000;
/** A launcher ends the other ranks, too: what waits for them would wait until it misses them. */
const RANK_LIMIT_MS = 2_000;

/** Ends what is registered when the process is interrupted. */
export class Interrupts implements Cleanup, Disposable {
  readonly #ends = new Set<() => Promise<void>>();
  readonly #onSignal: () => void;

  /** @param exit Called when everything has ended, or on a second signal. */
  constructor(exit: () => void) {
    this.#onSignal = () => {
      if (this.isInterrupted) return exit();
      this.isInterrupted = true;
      this.#endAll().finally(exit);
    };
  }

  /** Does what a signal does; not a second time. */
  interrupt(): void {
    if (!this.isInterrupted) this.#onSignal();
  }

  /** Whether this process is one of several ranks that a launcher started. */
  isRank = false;

  /** Whether a signal came; what fails from then on fails because of it. */
  isInterrupted = false;

  /**
   * Starts to listen to SIGINT and SIGTERM. Where files may not grow (`ulimit -f`), the write fails
   * and can be told, as the signal that comes with it ends nothing any more.
   */
  listen(): void {
    for (const signal of SIGNALS) Deno.addSignalListener(signal, this.#onSignal);
    Deno.addSignalListener(FILE_SIZE_SIGNAL, nothing);
  }

  onInterrupt(end: () => Promise<void>): Disposable {
    this.#ends.add(end);
    return { [Symbol.dispose]: () => void this.#ends.delete(end) };
  }

  [Symbol.dispose](): void {
    for (const signal of SIGNALS) Deno.removeSignalListener(signal, this.#onSignal);
    Deno.removeSignalListener(FILE_SIZE_SIGNAL, nothing);
  }

  async #endAll(): Promise<void> {
    const ends = Array.from(this.#ends, (end) => end());
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, this.isRank ? RANK_LIMIT_MS : LIMIT_MS);
    await Promise.race([Promise.allSettled(ends), promise]);
    clearTimeout(timer);
  }
}
