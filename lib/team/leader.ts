/**
 * Teams whose rank 0 is this process: alone, or with the processes that a launcher started, which
 * follow it.
 *
 * Rank 0 decides what the others hear: at every border it broadcasts what has come since the last
 * one.
 *
 * @module
 */
import { BorrowedCollective } from "../parallel/borrowed.ts";
import type { Collective } from "../parallel/collective.ts";
import { SelfCollective } from "../parallel/self.ts";
import { RankStatus } from "../parallel/state.ts";
import { type Border, RankDesk, type RankLink } from "./desk.ts";
import { Flights } from "./flights.ts";
import { type LeaderMessage, loadRank } from "./follow.ts";
import type { RankGroup } from "./group.ts";
import type { RankProgram, RankService, RankTypes } from "./program.ts";
import {
  type Command,
  decodeOutcome,
  encodeOutcome,
  type Outcome,
  type OutcomeRecord,
} from "./protocol.ts";
import { closedTeamError, closingReason, type RunOptions, type Team } from "./team.ts";
import { broadcastJson, gatherJson, gatherNumbers } from "./words.ts";

/** Nobody waits for a rank that is alone. */
const ALONE_TIMEOUT_MS = 60_000;

/**
 * A team of this process.
 *
 * @throws What loading throws.
 */
export async function openAlone<T extends RankTypes>(
  program: RankProgram<T>,
  init: T["init"],
): Promise<Team<T>> {
  const collective = new SelfCollective();
  const status = new RankStatus();
  const link = new LeaderLink<T>(collective, {});
  const desk = new RankDesk<T>(link, { collective, status });
  const service = await program.load(init, {
    rank: 0,
    size: 1,
    localSize: 1,
    hasOwnFiles: false,
    collective,
    carrier: "none",
    hangTimeoutMs: ALONE_TIMEOUT_MS,
    status,
    desk,
    describe: (rank) => `rank ${rank}`,
  });
  return new LeaderTeam({ link, desk, service, ready: [service.ready] });
}

/**
 * A team of the processes that a launcher started, this one being rank 0; the others follow by
 * `followLeader()`.
 *
 * @throws What loading throws here; {WorkerError} if a rank is lost.
 */
export async function openLaunched<T extends RankTypes>(
  program: RankProgram<T>,
  init: T["init"],
  options: { group: RankGroup; timeoutMs: number },
): Promise<Team<T>> {
  const { group, timeoutMs } = options;
  const message: LeaderMessage = { kind: "load", program: program.name, init, timeoutMs };
  group.status.enter("idle");
  await broadcastJson(group.collective, message);
  const announce = (id: number) => group.collective.announce(id);
  const link = new LeaderLink<T>(new BorrowedCollective(group.collective), { announce });
  const { desk, service, ready } = await loadRank(program, init, { group, link, timeoutMs });
  return new LeaderTeam({ link, desk, service, ready });
}

/** Rank 0's link: it hears the callers in this process. */
class LeaderLink<T extends RankTypes> implements RankLink {
  readonly flights: Flights<T>;
  readonly #collective: Collective;
  readonly #announce: (id: number) => void;
  #coming: Command[] = [];
  readonly #cancelled = new Set<number>();
  #isClosing = false;
  #wake: (() => void) | undefined;

  /** @param options `announce`: tells the others at once which request is to end. */
  constructor(collective: Collective, options: { announce?: (id: number) => void }) {
    this.#collective = collective;
    this.#announce = options.announce ?? (() => {});
    this.flights = new Flights(collective.size, { cancel: (command) => this.tell(command) });
  }

  /** Takes what is to be handed out at the next border. */
  tell(command: Command): void {
    this.#coming.push(command);
    if (command.kind === "cancel") {
      this.#cancelled.add(command.id);
      this.#announce(command.id);
    }
    this.#wake?.();
  }

  /** Nothing will come any more. */
  close(): void {
    this.#isClosing = true;
    this.#wake?.();
  }

  async border(options: { wait: boolean; gaveUp: number }): Promise<Border> {
    const { wait, gaveUp } = options;
    while (wait && this.#coming.length === 0 && !this.#isClosing) {
      await new Promise<void>((resolve) => this.#wake = resolve);
    }
    const commands = this.#coming;
    this.#coming = [];
    const isEnd = wait && commands.length === 0;
    const others = await this.#handOut({ commands, isEnd }, gaveUp);
    return { commands, isEnd, gaveUp: others };
  }

  isCancelled(id: number): boolean {
    return this.#cancelled.has(id);
  }

  progress(id: number, body: unknown): void {
    this.flights.progress(id, { body, rank: 0 });
  }

  async report(outcomes: readonly Outcome[]): Promise<void> {
    for (const { id } of outcomes) this.#cancelled.delete(id);
    if (this.#collective.size === 1) {
      for (const outcome of outcomes) this.flights.answer(0, outcome);
      return;
    }
    const all = await gatherJson(this.#collective, outcomes.map(encodeOutcome));
    for (const [rank, ends] of (all as OutcomeRecord[][]).entries()) {
      for (const end of ends) this.flights.answer(rank, decodeOutcome(end));
    }
  }

  /** @returns The requests that ranks have stopped. */
  async #handOut(news: Omit<Border, "gaveUp">, gaveUp: number): Promise<number[]> {
    if (this.#collective.size === 1) return gaveUp > 0 ? [gaveUp] : [];
    const isNews = news.commands.length > 0 || news.isEnd;
    const text = new TextEncoder().encode(isNews ? JSON.stringify(news) : "");
    const numbers = await gatherNumbers(this.#collective, [text.byteLength, gaveUp]);
    if (isNews) await this.#collective.broadcast(text, { root: 0 });
    return numbers.flatMap(([, id = 0]) => id > 0 ? [id] : []);
  }
}

/** The team as rank 0 has it. */
class LeaderTeam<T extends RankTypes> implements Team<T> {
  readonly ready: readonly T["ready"][];
  readonly #link: LeaderLink<T>;
  readonly #service: RankService<T>;
  /** Settles when the rank has stopped to work; never fails. */
  readonly #serving: Promise<void>;
  #failure: { error: unknown } | undefined;
  #closing: Promise<void> | undefined;

  constructor(
    parts: {
      link: LeaderLink<T>;
      desk: RankDesk<T>;
      service: RankService<T>;
      ready: readonly T["ready"][];
    },
  ) {
    const { link, desk, service, ready } = parts;
    this.#link = link;
    this.#service = service;
    this.ready = ready;
    this.#serving = desk.serve(service).catch((error) => {
      this.#failure = { error };
      link.flights.fail(error);
    });
  }

  get size(): number {
    return this.ready.length;
  }

  async run(request: T["request"], options: RunOptions<T> = {}): Promise<T["result"][]> {
    if (this.#failure !== undefined) throw this.#failure.error;
    if (this.#closing !== undefined) throw closedTeamError();
    const { id, results } = this.#link.flights.open(options);
    this.#link.tell({ kind: "request", id, body: request });
    return await results;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing ??= this.#close();
    await this.#closing;
  }

  /** Nothing may be freed while a step computes: what runs ends first, at its next border. */
  async #close(): Promise<void> {
    this.#link.flights.cancelAll(closingReason());
    this.#link.close();
    await this.#serving;
    this.#service[Symbol.dispose]();
  }
}
