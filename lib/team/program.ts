/**
 * What ranks run: a program that is loaded on every rank of a team and then computes requests step
 * by step, all ranks at the same time (SPMD).
 *
 * A team (lib/team/team.ts) has many requests in flight, each with an id. Only one process knows
 * them first: the one that called `Team.run()`. So that all ranks do the same in the same order, what
 * happened is handed to them at the borders of steps, by one small all-gather: between two calls of
 * `step()`, and wherever a step itself calls `Desk.turn()`. All ranks see the same commands, in the
 * same order, at the same border.
 *
 * ```text
 * each rank:  commands = agree(wait until there are some, if the service has no work)
 *             for each: service.submit(id, request) or service.cancel(id)
 *             if the service has work: service.step()
 * ```
 *
 * A program that computes one request after the other is written with `oneAtATime()`
 * (lib/team/one_at_a_time.ts). A program that batches keeps its sequences itself:
 *
 * - `submit()` only notes the request. It throws a `RequestError` for what every rank can see is
 *   wrong; the others go on.
 * - `step()` decides from what all ranks know (ids, lengths, the order of `submit()`: never a clock
 *   or this rank's free memory) what the step contains, computes it, and reports by `desk.progress()`
 *   and `desk.finish()`. Whatever depends on the rank, such as taking memory for a new sequence, runs
 *   inside of `desk.agree()`: if it fails on one rank, it fails on all, and the request is refused by
 *   all alike.
 * - `cancel()` is called between steps or in a `turn()`, never while the step computes: the sequence
 *   gives its memory back there and is reported by `desk.drop()`.
 * - Contexts that outlive an answer are requests as well: one that encodes and keeps, one that asks,
 *   one that frees; the order of `submit()` is that of the calls.
 *
 * A step should be short (a token of all sequences, a chunk of a prompt), as a request that arrives
 * or is cancelled waits for its end.
 *
 * @module
 */
import type { Collective } from "../parallel/collective.ts";
import type { RankStatus } from "../parallel/state.ts";

/** The bodies that a team and its ranks agree on; JSON values, opaque to the team. */
export interface RankTypes {
  /** What a rank is started with: model folder, plan, options. */
  init: unknown;
  /** What it answers when it is ready. */
  ready: unknown;
  request: unknown;
  result: unknown;
  progress: unknown;
}

/** A rank's place in its team. */
export interface RankContext<T extends RankTypes = RankTypes> {
  readonly rank: number;
  readonly size: number;
  /** How many of the ranks share this node's cores. */
  readonly localSize: number;
  /** Whether each rank has a working folder, and maybe a file system, of its own. */
  readonly hasOwnFiles: boolean;
  /** The way to the other ranks; the team's own, closing it ends only the use. */
  readonly collective: Collective;
  /** What carries it, for people. */
  readonly carrier: string;
  /**
   * How long an exchange of a device may hang before this rank says so; longer than a rank may make
   * no progress where somebody else watches, who can name the rank.
   */
  readonly hangTimeoutMs: number;
  /** Must be advanced at least once per time-out while the rank works. */
  readonly status: RankStatus;
  /** Where requests are reported. */
  readonly desk: Desk<T>;
  /** A rank for people, with its node where it is known. */
  describe(rank: number): string;
}

/** What a rank reports, and how ranks agree in the midst of a step. */
export interface Desk<T extends RankTypes> {
  /** Tells whoever asked; when it is read slowly, only the latest one is kept. */
  progress(id: number, body: T["progress"]): void;
  /** Ends a request with this rank's result; all ranks do so in the same step. */
  finish(id: number, result: T["result"]): void;
  /** Ends a request with an error that all ranks have alike; they go on. */
  refuse(id: number, error: Error): void;
  /** Ends a cancelled request: this rank has freed what it took. */
  drop(id: number): void;
  /**
   * A border within a step: `submit()` and `cancel()` are called for what has come. All ranks must
   * call it, equally often.
   *
   * @param options `gaveUp`: a request that this rank alone has stopped, as `isCancelled()` said so;
   * `cancel()` is called for it on all ranks.
   * @throws {WorkerError} If a rank is lost.
   */
  turn(options?: { gaveUp?: number | undefined }): Promise<void>;
  /**
   * Whether a request's end is ordered, as far as this rank knows: others may learn it later. Who
   * leaves out an exchange because of it makes the others hang.
   */
  isCancelled(id: number): boolean;
  /**
   * Does what may fail on one rank and not on others; all ranks must call it.
   *
   * @returns What `prepare` returned.
   * @throws {RefusedError} If it threw on any rank, with the error of the lowest one; what it
   * returned here is disposed of.
   */
  agree<R extends Disposable | undefined | void>(prepare: () => R | Promise<R>): Promise<R>;
}

/** A loaded program on one rank. */
export interface RankService<T extends RankTypes> extends Disposable {
  /** Sent to whoever opened the team. */
  readonly ready: T["ready"];
  /** Whether `step()` has something to do; equal on all ranks. */
  readonly hasWork: boolean;
  /**
   * Takes a request; every id comes once.
   *
   * @throws {RequestError} If it cannot be done, which all ranks find alike.
   */
  submit(id: number, request: T["request"]): void;
  /** Ends a request that is not reported as ended yet, as soon as possible. */
  cancel(id: number): void;
  /**
   * One step of the requests in flight.
   *
   * @throws What ends the team: all requests fail with it.
   */
  step(): Promise<void>;
}

/** A program that a team can be opened with. */
export interface RankProgram<T extends RankTypes> {
  /** By which the ranks of a launcher find it. */
  readonly name: string;
  /** The module that calls `serveRank()` with this program, for child processes. */
  readonly entry: URL;
  /** `deno run`'s permission flags for it, besides `--allow-ffi`. */
  readonly permissions: readonly string[];
  /** More of these flags for single ranks. */
  rankPermissions?(init: T["init"]): ((rank: number) => readonly string[]) | undefined;
  /** Environment variables of a child besides this process's. */
  environment?(
    init: T["init"],
    size: number,
  ): ((rank: number) => Readonly<Record<string, string>>) | undefined;
  /** Loads it; all ranks do so at the same time. */
  load(init: T["init"], context: RankContext<T>): Promise<RankService<T>>;
}

/** A request that all ranks refused alike: the cause is the error to throw to who asked. */
export class RefusedError extends Error {
  override name = "RefusedError";
  /** What the lowest rank found. */
  readonly reason: Error;

  constructor(reason: Error) {
    super(reason.message, { cause: reason });
    this.reason = reason;
  }
}
