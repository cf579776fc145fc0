/**
 * A team of worker processes: N children, each a rank of one collective, that serve requests together
 * (SPMD: every rank gets every request, every rank answers).
 *
 * A request that all ranks refuse alike fails alone. Any other failure ends all of them; the first one
 * that is noticed is the one that callers see.
 *
 * @module
 */
import { EXIT_CODES, FileError } from "../errors.ts";
import { AbortedError } from "../parallel/collective.ts";
import { DEFAULT_SLOT_BYTES, ShmGroup } from "../parallel/shm.ts";
import { lostRankError } from "../parallel/state.ts";
import { Child, delay } from "./child.ts";
import { Flights } from "./flights.ts";
import { Monitor } from "./monitor.ts";
import type { RankTypes } from "./program.ts";
import { decodeOutcome, type Message, PROTOCOL_VERSION, restoreError } from "./protocol.ts";
import { closedTeamError, closingReason, type RunOptions, type Team } from "./team.ts";
import { encodeFrame } from "./transport.ts";

/** How to start the children. */
export interface ChildTeamOptions {
  /** The module that calls `serveRank()` with the program. */
  readonly entry: URL;
  /** The number of ranks. */
  readonly size: number;
  /**
   * `deno run`'s permission flags, exactly what the entry needs besides `--allow-ffi`, which every
   * rank gets: Deno finds the C library by its name only without a list of paths. The parent needs
   * `--allow-ffi` and `--allow-run=<Deno.execPath()>`.
   */
  readonly permissions: readonly string[];
  /** More of these flags for single ranks. */
  readonly rankPermissions?: ((rank: number) => readonly string[]) | undefined;
  /** Environment variables that a rank gets besides this process's. */
  readonly env?: ((rank: number) => Readonly<Record<string, string>>) | undefined;
  /** How long a rank may make no progress while it has work and waits for nobody. */
  readonly timeoutMs: number;
  /** How long a child may take to start and join. Default 60,000. */
  readonly startTimeoutMs?: number | undefined;
  /** The bytes that ranks exchange at once. Default 256 KiB. */
  readonly slotBytes?: number;
  /** Gets each line that a child writes to standard error. Default: on, marked with the rank. */
  readonly onLine?: (line: string, rank: number) => void;
}

const DEFAULT_START_TIMEOUT_MS = 60_000;
/** The longest wait for children to end by themselves when their input has ended. */
const CLOSE_MS = 2_000;
/** The longest wait for killed children: one in an uninterruptible sleep never goes. */
const KILL_MS = 5_000;
/** How long a rank's word that another rank failed waits for that rank's own word. */
const SECOND_HAND_MS = 1_000;
/** How a rank begins what it ends with (`lib/ffi/mapped_guard.ts`). */
const LAST_WORDS = "error: ";
const MAX_LOOK_MS = 250;
const MIN_LOOK_MS = 20;

/** What all ranks owe at their start. */
interface Round {
  readonly kind: "joined" | "ready";
  readonly answers: unknown[];
  readonly answered: boolean[];
  readonly done: PromiseWithResolvers<unknown[]>;
}

/** Worker processes that serve requests of one kind. */
export class ChildTeam<T extends RankTypes> implements Team<T> {
  readonly size: number;
  readonly #options: ChildTeamOptions;
  readonly #group: ShmGroup;
  readonly #children: Child[] = [];
  readonly #monitor: Monitor;
  readonly #onLine: (line: string, rank: number) => void;
  readonly #flights: Flights<T>;
  #ready: T["ready"][] = [];
  #round: Round | undefined;
  #joined = false;
  #failure: Error | undefined;
  readonly #lost = Promise.withResolvers<Error>();
  #closing: Promise<void> | undefined;
  /** A line of each rank that may be its last one. */
  readonly #lastWords = new Map<number, string>();
  #secondHand: ReturnType<typeof setTimeout> | undefined;

  private constructor(options: ChildTeamOptions) {
    const { size, slotBytes = DEFAULT_SLOT_BYTES, timeoutMs } = options;
    const { startTimeoutMs = DEFAULT_START_TIMEOUT_MS } = options;
    this.size = size;
    this.#options = options;
    this.#onLine = options.onLine ?? writeLine;
    this.#group = new ShmGroup({ size, slotBytes });
    this.#flights = new Flights(size, { cancel: (command) => this.#tell(command) });
    this.#monitor = new Monitor(this.#group.state, {
      timeoutMs: () => this.#joined ? timeoutMs : startTimeoutMs,
      isBusy: (rank) => this.#owes(rank),
      onLost: (error) => this.#fail(error),
      intervalMs: Math.min(
        Math.max(Math.min(timeoutMs, startTimeoutMs) / 10, MIN_LOOK_MS),
        MAX_LOOK_MS,
      ),
    });
  }

  /**
   * Starts the children and waits until all are ready.
   *
   * @param init Given to every rank's `load` function.
   * @returns The team; its owner closes it.
   * @throws {RangeError} If a size or a time is not positive.
   * @throws {WorkerError} If a child is lost.
   * @throws What `load` throws, as the same class.
   */
  static async start<T extends RankTypes>(
    init: T["init"],
    options: ChildTeamOptions,
  ): Promise<ChildTeam<T>> {
    checkOptions(options);
    const team = new ChildTeam<T>(options);
    try {
      await team.#start(init);
      return team;
    } catch (error) {
      team.kill();
      await team.close();
      throw error;
    }
  }

  get lost(): Promise<Error> {
    return this.#lost.promise;
  }

  /** What the ranks answered to `init`, by rank. */
  get ready(): readonly T["ready"][] {
    return this.#ready;
  }

  async run(request: T["request"], options: RunOptions<T> = {}): Promise<T["result"][]> {
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#closing !== undefined) throw closedTeamError();
    const { id, results } = this.#flights.open(options);
    try {
      this.#tell({ kind: "request", id, body: request });
    } catch (error) {
      this.#flights.abandon(id, error);
    }
    return await results;
  }

  /** Lets the children end, and makes them after 2 s; requests in flight throw. */
  async close(): Promise<void> {
    this.#flights.fail(closingReason());
    this.#closing ??= this.#shutDown({ graceful: true });
    await this.#closing;
  }

  /** Ends the children at once; requests in flight throw. `close()` waits for the end. */
  kill(): void {
    this.#flights.fail(closingReason());
    for (const child of this.#children) child.kill();
    this.#closing ??= this.#shutDown();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #start(init: T["init"]): Promise<void> {
    const { permissions, rankPermissions } = this.#options;
    // Deno 2.9's cache of compiled code breaks when many start at once, and saves no time.
    const flags = ["--quiet", "--no-prompt", "--no-code-cache", "--allow-ffi"];
    for (let rank = 0; rank < this.size; rank++) {
      this.#children.push(
        new Child({
          rank,
          entry: this.#options.entry,
          env: this.#options.env?.(rank) ?? {},
          flags: [
            ...flags,
            ...checkPermissions([...permissions, ...rankPermissions?.(rank) ?? []]),
          ],
          onMessage: (message) => this.#receive(message, rank),
          onLine: (line) => this.#hear(line, rank),
          onEnd: (cause, code) => this.#bury(rank, { cause, code }),
        }),
      );
    }
    await this.#ask((rank) => this.#hello(rank), "joined");
    this.#group.seal();
    this.#joined = true;
    this.#ready = await this.#ask(() => ({ kind: "init", body: init }), "ready");
  }

  #hello(rank: number): Message {
    const { size, slotBytes } = this.#group.shape;
    return {
      kind: "hello",
      version: PROTOCOL_VERSION,
      parentPid: Deno.pid,
      rank,
      size,
      memory: this.#group.path,
      slotBytes,
      timeoutMs: this.#options.timeoutMs,
    };
  }

  /** Sends a message to each rank and waits for all answers. */
  async #ask(message: (rank: number) => Message, kind: Round["kind"]): Promise<unknown[]> {
    const round: Round = { kind, answers: [], answered: [], done: Promise.withResolvers() };
    this.#round = round;
    for (const child of this.#children) child.send(encodeFrame(message(child.rank)));
    return await round.done.promise;
  }

  /** All ranks get the same messages, in the same order. */
  #tell(message: Message): void {
    const frame = encodeFrame(message);
    for (const child of this.#children) child.send(frame);
  }

  #owes(rank: number): boolean {
    return this.#round === undefined
      ? this.#flights.isOwed(rank)
      : this.#round.answered[rank] !== true;
  }

  #receive(message: Message, rank: number): void {
    switch (message.kind) {
      case "error":
        return this.#fail(restoreError(message.error));
      case "progress":
        return this.#flights.progress(message.id, { body: message.body, rank });
      case "result":
      case "refused":
      case "dropped":
        if (!this.#flights.answer(rank, decodeOutcome(message))) this.#refuse(message, rank);
        return;
      default:
        this.#takeStart(message, rank);
    }
  }

  /** Takes an answer of a rank that starts. */
  #takeStart(message: Message, rank: number): void {
    const round = this.#round;
    if (round === undefined || message.kind !== round.kind || round.answered[rank] === true) {
      return this.#refuse(message, rank);
    }
    round.answers[rank] = "body" in message ? message.body : undefined;
    round.answered[rank] = true;
    if (this.#children.some((child) => round.answered[child.rank] !== true)) return;
    this.#round = undefined;
    round.done.resolve(round.answers);
  }

  #refuse(message: Message, rank: number): void {
    if (this.#closing !== undefined || this.#failure !== undefined) return;
    this.#lose(rank, `its output is not understood: '${message.kind}' was not expected`);
  }

  #lose(rank: number, cause: string): void {
    if (this.#closing !== undefined || this.#failure !== undefined) return;
    const position = this.#group.state.snapshot(rank);
    this.#fail(lostRankError(rank, { position, cause }));
  }

  /** Ends the team because of an error; the first one counts. */
  #fail(error: Error): void {
    if (this.#closing !== undefined || this.#failure !== undefined) return;
    if (error instanceof AbortedError) {
      // That rank's own words, or its end, are on their way through another pipe.
      this.#secondHand ??= setTimeout(() => this.#end(error), SECOND_HAND_MS);
      return;
    }
    this.#end(error);
  }

  #end(error: Error): void {
    this.#failure = error;
    this.#closing = this.#shutDown();
    const round = this.#round;
    this.#round = undefined;
    // Nothing is left of the children when the callers hear of it.
    this.#closing.then(() => {
      round?.done.reject(error);
      this.#flights.fail(error);
      this.#lost.resolve(error);
    });
  }

  async #shutDown(options: { graceful?: boolean } = {}): Promise<void> {
    clearTimeout(this.#secondHand);
    this.#monitor[Symbol.dispose]();
    const ended = Promise.all(this.#children.map((child) => child.ended));
    if (options.graceful === true) {
      for (const child of this.#children) child.closeInput();
      await settledWithin(ended, CLOSE_MS);
    }
    for (const child of this.#children) child.kill();
    await settledWithin(ended, KILL_MS);
    this.#group[Symbol.dispose]();
  }

  /** Keeps a line that may be a rank's last words, and passes on all others. */
  #hear(line: string, rank: number): void {
    const held = this.#lastWords.get(rank);
    this.#lastWords.delete(rank);
    if (held !== undefined) this.#forwardLine(held, rank);
    if (line.startsWith(LAST_WORDS)) this.#lastWords.set(rank, line);
    else this.#forwardLine(line, rank);
  }

  /** A rank whose process has ended: because of a file, if it said so, or else it is lost. */
  #bury(rank: number, end: { cause: string; code: number | undefined }): void {
    const words = this.#lastWords.get(rank);
    this.#lastWords.delete(rank);
    if (words !== undefined && end.code === EXIT_CODES.file) {
      return this.#fail(new FileError(words.slice(LAST_WORDS.length)));
    }
    if (words !== undefined) this.#forwardLine(words, rank);
    this.#lose(rank, end.cause);
  }

  /** Ranks that are told to end stay quiet. */
  #forwardLine(line: string, rank: number): void {
    if (this.#closing === undefined) this.#onLine(line, rank);
  }
}

function checkOptions(options: ChildTeamOptions): void {
  const { size, timeoutMs, startTimeoutMs = 1, slotBytes = 1 } = options;
  for (const [name, value] of Object.entries({ size, slotBytes })) {
    if (!Number.isInteger(value) || value < 1) {
      throw new RangeError(
        `Cannot start workers as '${name}' must be a positive integer: current value is ${value}`,
      );
    }
  }
  for (const [name, value] of Object.entries({ timeoutMs, startTimeoutMs })) {
    if (!(value > 0)) {
      throw new RangeError(
        `Cannot start workers as '${name}' must be positive: current value is ${value}`,
      );
    }
  }
}

/** Checks that nothing but permissions is passed on; a list of libraries would revoke all others. */
function checkPermissions(permissions: readonly string[]): readonly string[] {
  for (const flag of permissions) {
    if (/^--(allow|deny)-[a-z-]+(=|$)/.test(flag)) continue;
    throw new TypeError(
      `Cannot start workers as 'permissions' must be permission flags: current value is ${flag}`,
    );
  }
  return permissions.filter((flag) => !flag.startsWith("--allow-ffi"));
}

/** Whether a promise settles in time; what it settles to is looked at by its owner. */
async function settledWithin(promise: Promise<unknown>, durationMs: number): Promise<void> {
  const timer = new AbortController();
  await Promise.race([promise, delay(durationMs, timer.signal)]);
  timer.abort();
}

function writeLine(line: string, rank: number): void {
  Deno.stderr.writeSync(new TextEncoder().encode(`rank ${rank}: ${line}\n`));
}
