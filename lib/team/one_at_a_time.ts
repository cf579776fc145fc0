/**
 * A rank program that computes one request after the other, in the order in which they came.
 *
 * @module
 */
import { InvariantError, RequestError, WorkerError } from "../errors.ts";
import { type Desk, type RankContext, type RankService, RefusedError } from "./program.ts";
import type { RankTypes } from "./program.ts";

/** What a request is computed with. */
export interface RankCall<T extends RankTypes> {
  /** Tells whoever asked; when it is read slowly, only the latest one is kept. */
  progress(body: T["progress"]): void;
  /**
   * A border that all ranks must call equally often: takes what has come.
   *
   * @throws {CancelledError} If the request is to end, on all ranks alike.
   */
  turn(): Promise<void>;
  /**
   * Ends the request if this rank knows that it is to end, which others may not know yet: only where
   * the next thing that all ranks do together is a `turn()`.
   *
   * @throws {CancelledError} If it is to end.
   */
  checkpoint(): void;
  /** See {@linkcode Desk.agree}. */
  agree: Desk<T>["agree"];
}

/** A request that ends as it was cancelled; it passes through whoever computes it. */
export class CancelledError extends Error {
  override name = "CancelledError";
  /** Whether all ranks know. */
  readonly isAgreed: boolean;

  constructor(options: { isAgreed: boolean }) {
    super("The request was cancelled");
    this.isAgreed = options.isAgreed;
  }
}

/** What the program does. */
export interface OneAtATimeOptions<T extends RankTypes> {
  readonly ready: T["ready"];
  /**
   * Computes a request; all ranks do so at the same time.
   *
   * @throws {RequestError} If it cannot be done, on all ranks alike: the team goes on. Anything else
   * ends a team of several ranks, which are out of step, and only the request where a rank is alone.
   */
  run(request: T["request"], call: RankCall<T>): Promise<T["result"]>;
  /** Frees everything. */
  dispose(): void;
}

/** Makes a service of a function that computes one request. */
export function oneAtATime<T extends RankTypes>(
  context: Pick<RankContext<T>, "desk" | "size">,
  options: OneAtATimeOptions<T>,
): RankService<T> {
  return new OneAtATime(context, options);
}

class OneAtATime<T extends RankTypes> implements RankService<T> {
  readonly ready: T["ready"];
  readonly #desk: Desk<T>;
  readonly #isAlone: boolean;
  readonly #options: OneAtATimeOptions<T>;
  readonly #waiting = new Map<number, T["request"]>();
  /** Told to end while it is computed. */
  readonly #ending = new Set<number>();

  constructor(
    context: Pick<RankContext<T>, "desk" | "size">,
    options: OneAtATimeOptions<T>,
  ) {
    this.ready = options.ready;
    this.#desk = context.desk;
    this.#isAlone = context.size === 1;
    this.#options = options;
  }

  get hasWork(): boolean {
    return this.#waiting.size > 0;
  }

  submit(id: number, request: T["request"]): void {
    this.#waiting.set(id, request);
  }

  cancel(id: number): void {
    if (this.#waiting.delete(id)) this.#desk.drop(id);
    else this.#ending.add(id);
  }

  async step(): Promise<void> {
    const [first] = this.#waiting;
    if (first === undefined) return;
    const [id, request] = first;
    this.#waiting.delete(id);
    try {
      const result = await this.#options.run(request, this.#call(id));
      this.#desk.finish(id, result);
    } catch (error) {
      if (error instanceof CancelledError) {
        // The others learn it where they next look.
        if (!error.isAgreed) await this.#desk.turn({ gaveUp: id });
        this.#desk.drop(id);
      } else if (error instanceof RefusedError) {
        this.#desk.refuse(id, error.reason);
      } else if (this.#isSurvived(error)) {
        this.#desk.refuse(id, error);
      } else {
        throw error;
      }
    } finally {
      this.#ending.delete(id);
    }
  }

  #call(id: number): RankCall<T> {
    const desk = this.#desk;
    return {
      progress: (body) => desk.progress(id, body),
      turn: async () => {
        await desk.turn();
        if (this.#ending.has(id)) throw new CancelledError({ isAgreed: true });
      },
      checkpoint: () => {
        if (desk.isCancelled(id)) throw new CancelledError({ isAgreed: this.#ending.has(id) });
      },
      agree: (prepare) => desk.agree(prepare),
    };
  }

  /** Ranks that wait for each other cannot go on after what only one of them found. */
  #isSurvived(error: unknown): error is Error {
    if (error instanceof RequestError) return true;
    const isOut = error instanceof WorkerError || error instanceof InvariantError;
    return this.#isAlone && error instanceof Error && !isOut;
  }

  [Symbol.dispose](): void {
    this.#options.dispose();
  }
}
