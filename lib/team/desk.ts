/**
 * A rank at work: takes what has come at the borders of steps, lets the service compute, and sends
 * what has ended. It is the same for a rank that is alone, a child and a launched process; how
 * commands come and results go is the link's.
 *
 * @module
 */
import type { Collective } from "../parallel/collective.ts";
import type { RankStatus } from "../parallel/state.ts";
import { invariant, InvariantError, RequestError, WorkerError } from "../errors.ts";
import { type Desk, type RankService, type RankTypes, RefusedError } from "./program.ts";
import {
  type Command,
  type ErrorRecord,
  type Outcome,
  recordError,
  restoreError,
} from "./protocol.ts";
import { gatherJson, gatherNumbers } from "./words.ts";

/** What all ranks get at a border. */
export interface Border {
  readonly commands: readonly Command[];
  /** Requests that a rank has stopped on its own. */
  readonly gaveUp: readonly number[];
  /** Whether nothing will come any more. */
  readonly isEnd: boolean;
}

/** How a rank hears and answers whoever asks. */
export interface RankLink {
  /**
   * What has come since the last border, the same on all ranks, which all must call it.
   *
   * @param options `wait`: until something has come, or the end. `gaveUp`: a request that this rank
   * has stopped, or 0.
   */
  border(options: { wait: boolean; gaveUp: number }): Promise<Border>;
  /** Whether this rank has heard that a request is cancelled. */
  isCancelled(id: number): boolean;
  progress(id: number, body: unknown): void;
  /** Sends ends; all ranks have the same ids, in the same order. */
  report(outcomes: readonly Outcome[]): Promise<void>;
}

/** The desk of one rank. */
export class RankDesk<T extends RankTypes> implements Desk<T> {
  readonly #link: RankLink;
  readonly #collective: Collective;
  readonly #status: RankStatus;
  /** Requests that have not ended; `true`: told to end. */
  readonly #open = new Map<number, boolean>();
  #outcomes: Outcome[] = [];
  #service: RankService<T> | undefined;

  constructor(link: RankLink, options: { collective: Collective; status: RankStatus }) {
    this.#link = link;
    this.#collective = options.collective;
    this.#status = options.status;
  }

  /**
   * Works until nothing will come any more.
   *
   * @throws What a step throws; {WorkerError} if a rank is lost.
   */
  async serve(service: RankService<T>): Promise<void> {
    this.#service = service;
    for (;;) {
      const wait = !service.hasWork;
      if (wait) this.#status.enter("idle");
      if (!await this.#border({ wait, gaveUp: 0 })) return;
      if (!service.hasWork) continue;
      // Before any work, so that the time since the last request does not count.
      this.#status.advance();
      await service.step();
      await this.#report();
    }
  }

  progress(id: number, body: T["progress"]): void {
    if (this.#open.has(id)) this.#link.progress(id, body);
  }

  finish(id: number, result: T["result"]): void {
    this.#end({ kind: "result", id, body: result });
  }

  refuse(id: number, error: Error): void {
    this.#end({ kind: "refused", id, error });
  }

  drop(id: number): void {
    this.#end({ kind: "dropped", id });
  }

  async turn(options: { gaveUp?: number | undefined } = {}): Promise<void> {
    const isGoingOn = await this.#border({ wait: false, gaveUp: options.gaveUp ?? 0 });
    invariant(isGoingOn, "a team ends when nothing is in flight");
  }

  isCancelled(id: number): boolean {
    return this.#open.get(id) === true || this.#link.isCancelled(id);
  }

  async agree<R extends Disposable | undefined | void>(prepare: () => R | Promise<R>): Promise<R> {
    let made: { value: R } | undefined;
    let fault: Error | undefined;
    try {
      made = { value: await prepare() };
    } catch (error) {
      if (isFatal(error)) throw error;
      fault = error;
    }
    const { rank, error } = await firstFault(this.#collective, fault);
    if (error !== undefined) {
      if (made?.value) made.value[Symbol.dispose]();
      // This rank's own keeps its stack and its cause.
      throw new RefusedError(rank === this.#collective.rank && fault ? fault : error);
    }
    invariant(made !== undefined, "nobody found a fault");
    return made.value;
  }

  /** @returns Whether more can come. */
  async #border(options: { wait: boolean; gaveUp: number }): Promise<boolean> {
    const { commands, gaveUp, isEnd } = await this.#link.border(options);
    if (isEnd) return false;
    for (const command of commands) {
      if (command.kind === "cancel") this.#cancel(command.id);
      else this.#submit(command.id, command.body);
    }
    for (const id of gaveUp) this.#cancel(id);
    await this.#report();
    return true;
  }

  #submit(id: number, request: T["request"]): void {
    this.#open.set(id, false);
    try {
      this.#service?.submit(id, request);
    } catch (error) {
      if (!(error instanceof RequestError)) throw error;
      this.refuse(id, error);
    }
  }

  #cancel(id: number): void {
    // It may have ended while the word was on its way.
    if (this.#open.get(id) !== false) return;
    this.#open.set(id, true);
    this.#service?.cancel(id);
  }

  #end(outcome: Outcome): void {
    invariant(this.#open.delete(outcome.id), "a request ends once");
    this.#outcomes.push(outcome);
  }

  async #report(): Promise<void> {
    if (this.#outcomes.length === 0) return;
    const outcomes = this.#outcomes;
    this.#outcomes = [];
    await this.#link.report(outcomes);
  }
}

/** What no agreement can mend: a lost rank, and a bug. */
function isFatal(error: unknown): error is unknown {
  return !(error instanceof Error) || error instanceof WorkerError ||
    error instanceof InvariantError;
}

/** The error of the lowest rank that has one. */
async function firstFault(
  collective: Collective,
  own: Error | undefined,
): Promise<{ rank: number; error: Error | undefined }> {
  if (collective.size === 1) return { rank: 0, error: own };
  const flags = await gatherNumbers(collective, [own === undefined ? 0 : 1]);
  const rank = flags.findIndex(([flag]) => flag === 1);
  if (rank < 0) return { rank, error: undefined };
  // Errors are rare: only then do ranks exchange texts.
  const records = await gatherJson(collective, own === undefined ? null : recordError(own));
  return { rank, error: restoreError(records[rank] as ErrorRecord) };
}
