/**
 * Requests in flight, as whoever gives them to a team sees them: numbers, answers by rank, and what
 * becomes of those that are cancelled.
 *
 * @module
 */
import { invariant } from "../errors.ts";
import type { RankTypes } from "./program.ts";
import type { Outcome } from "./protocol.ts";
import type { RunOptions } from "./team.ts";

/** More requests than this may not wait. */
const MAX_REQUESTS = 65_536;

/** What the ranks owe an answer to. */
interface Flight<T extends RankTypes> {
  readonly answers: (Outcome | undefined)[];
  readonly onProgress: RunOptions<T>["onProgress"];
  readonly done: PromiseWithResolvers<T["result"][]>;
  /** Why it is cancelled. */
  cancelled: { reason: unknown } | undefined;
  /** Stops to listen to the signal. */
  readonly forget: () => void;
}

/** What is asked of a team and not answered yet. */
export class Flights<T extends RankTypes> {
  readonly #size: number;
  readonly #send: (command: { kind: "cancel"; id: number }) => void;
  readonly #flights = new Map<number, Flight<T>>();
  #lastId = 0;

  /**
   * @param size The number of ranks.
   * @param options `cancel`: tells the ranks.
   */
  constructor(size: number, options: { cancel(command: { kind: "cancel"; id: number }): void }) {
    this.#size = size;
    this.#send = options.cancel;
  }

  /** The requests that have not ended. */
  get size(): number {
    return this.#flights.size;
  }

  /**
   * Opens a request.
   *
   * @returns Its number, and the results of all ranks.
   * @throws {TypeError} If too many wait.
   * @throws The signal's reason, if it is aborted already.
   */
  open(options: RunOptions<T>): { id: number; results: Promise<T["result"][]> } {
    const { signal, onProgress } = options;
    signal?.throwIfAborted();
    if (this.#flights.size >= MAX_REQUESTS) {
      throw new TypeError(
        `Cannot run a request as at most ${MAX_REQUESTS} may wait: ` +
          `current value is ${this.#flights.size}`,
      );
    }
    const id = ++this.#lastId;
    const onAbort = () => this.cancel(id, signal?.reason);
    signal?.addEventListener("abort", onAbort, { once: true });
    const done = Promise.withResolvers<T["result"][]>();
    this.#flights.set(id, {
      answers: Array.from({ length: this.#size }, () => undefined),
      onProgress,
      done,
      cancelled: undefined,
      forget: () => signal?.removeEventListener("abort", onAbort),
    });
    return { id, results: done.promise };
  }

  /** Lets a request end; it fails with `reason` when all ranks have let go. */
  cancel(id: number, reason: unknown): void {
    const flight = this.#flights.get(id);
    if (flight === undefined || flight.cancelled !== undefined) return;
    flight.cancelled = { reason };
    this.#send({ kind: "cancel", id });
  }

  /** Lets all requests end. */
  cancelAll(reason: unknown): void {
    for (const id of this.#flights.keys()) this.cancel(id, reason);
  }

  /** Whether a rank owes an answer. */
  isOwed(rank: number): boolean {
    for (const { answers } of this.#flights.values()) if (answers[rank] === undefined) return true;
    return false;
  }

  /** Takes progress; of what has ended, or is cancelled, nobody wants to hear. */
  progress(id: number, progress: { body: unknown; rank: number }): void {
    const flight = this.#flights.get(id);
    if (flight === undefined || flight.cancelled !== undefined) return;
    try {
      flight.onProgress?.(progress.body, progress.rank);
    } catch (error) {
      this.cancel(id, error);
    }
  }

  /**
   * Takes how a request ended on a rank.
   *
   * @returns Whether it was owed.
   */
  answer(rank: number, outcome: Outcome): boolean {
    const flight = this.#flights.get(outcome.id);
    if (flight === undefined || flight.answers[rank] !== undefined) return false;
    flight.answers[rank] = outcome;
    const answers = flight.answers.filter((answer) => answer !== undefined);
    if (answers.length < this.#size) return true;
    this.#close(outcome.id, flight);
    settle(flight, answers);
    return true;
  }

  /** Ends a request that was never sent. */
  abandon(id: number, error: unknown): void {
    const flight = this.#flights.get(id);
    if (flight === undefined) return;
    this.#close(id, flight);
    flight.done.reject(error);
  }

  /** Ends all requests with an error. */
  fail(error: unknown): void {
    for (const id of [...this.#flights.keys()]) this.abandon(id, error);
  }

  #close(id: number, flight: Flight<T>): void {
    flight.forget();
    this.#flights.delete(id);
  }
}

function settle<T extends RankTypes>(flight: Flight<T>, answers: readonly Outcome[]): void {
  const { done, cancelled } = flight;
  if (cancelled !== undefined) return done.reject(cancelled.reason);
  const kinds = new Set(answers.map(({ kind }) => kind));
  invariant(kinds.size === 1 && !kinds.has("dropped"), "all ranks end a request alike");
  const refused = answers.find((answer) => answer.kind === "refused");
  if (refused !== undefined) return done.reject(refused.error);
  done.resolve(answers.map((answer) => answer.kind === "result" ? answer.body : undefined));
}
