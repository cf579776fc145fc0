/**
 * The processes that a launcher started besides rank 0: they load and compute what rank 0 does.
 *
 * @module
 */
import { BorrowedCollective } from "../parallel/borrowed.ts";
import type { Collective } from "../parallel/collective.ts";
import { type Border, RankDesk, type RankLink } from "./desk.ts";
import type { RankGroup } from "./group.ts";
import type { RankProgram, RankService, RankTypes } from "./program.ts";
import { encodeOutcome, type Outcome } from "./protocol.ts";
import { broadcastJson, gatherJson, gatherNumbers } from "./words.ts";

/** What rank 0 says between teams. */
export type LeaderMessage =
  | {
    readonly kind: "load";
    /** The program's name. */
    readonly program: string;
    readonly init: unknown;
    /** How long a rank may make no progress. */
    readonly timeoutMs: number;
  }
  | { readonly kind: "end" };

/** Lets the other ranks end, when rank 0's command has ended well. */
export async function endFollowers(group: RankGroup): Promise<void> {
  const message: LeaderMessage = { kind: "end" };
  group.status.enter("idle");
  await broadcastJson(group.collective, message);
  await group.leave();
}

/**
 * What every rank but 0 does: serves until rank 0's command has ended.
 *
 * @param findProgram Gives the program of a name.
 * @throws What loading or a step throws here.
 * @throws {WorkerError} If another rank is lost; an `AbortedError` if somebody else has said so.
 */
export async function followLeader(
  group: RankGroup,
  findProgram: (name: string) => Promise<RankProgram<RankTypes>>,
): Promise<void> {
  for (;;) {
    group.status.enter("idle");
    const message = await broadcastJson(group.collective) as LeaderMessage;
    if (message.kind === "end") return await group.leave();
    const { init, timeoutMs } = message;
    const link = new FollowerLink(group);
    const program = await findProgram(message.program);
    const { desk, service } = await loadRank(program, init, { group, link, timeoutMs });
    using loaded = service;
    await desk.serve(loaded);
  }
}

/**
 * Loads a program on a launched rank; all do so at the same time.
 *
 * @returns `ready`: what all ranks said, by rank.
 */
export async function loadRank<T extends RankTypes>(
  program: RankProgram<T>,
  init: T["init"],
  options: { group: RankGroup; link: RankLink; timeoutMs: number },
): Promise<{ desk: RankDesk<T>; service: RankService<T>; ready: T["ready"][] }> {
  const { group, link, timeoutMs } = options;
  const { rank, size, localSize, status } = group;
  status.enter("load");
  group.collective.timeoutMs = timeoutMs;
  const collective = new BorrowedCollective(group.collective);
  const desk = new RankDesk<T>(link, { collective: group.collective, status });
  const service = await program.load(init, {
    rank,
    size,
    localSize,
    hasOwnFiles: true,
    collective,
    carrier: group.collective.version,
    hangTimeoutMs: timeoutMs,
    status,
    desk,
    describe: (rank) => group.describe(rank),
  });
  try {
    return { desk, service, ready: await gatherJson(group.collective, service.ready) };
  } catch (error) {
    service[Symbol.dispose]();
    throw error;
  }
}

/** Hears rank 0 at the borders, and a little earlier which request is to end. */
class FollowerLink implements RankLink {
  readonly #group: RankGroup;
  readonly #collective: Collective;

  constructor(group: RankGroup) {
    this.#group = group;
    this.#collective = group.collective;
  }

  async border(options: { wait: boolean; gaveUp: number }): Promise<Border> {
    const numbers = await gatherNumbers(this.#collective, [0, options.gaveUp]);
    const gaveUp = numbers.flatMap(([, id = 0]) => id > 0 ? [id] : []);
    const byteLength = numbers[0]?.[0] ?? 0;
    if (byteLength === 0) return { commands: [], isEnd: false, gaveUp };
    const bytes = new Uint8Array(byteLength);
    await this.#collective.broadcast(bytes, { root: 0 });
    const news = JSON.parse(new TextDecoder().decode(bytes)) as Omit<Border, "gaveUp">;
    return { ...news, gaveUp };
  }

  isCancelled(id: number): boolean {
    return this.#group.collective.announced(0) === id;
  }

  /** Progress is rank 0's. */
  progress(): void {}

  async report(outcomes: readonly Outcome[]): Promise<void> {
    await gatherJson(this.#collective, outcomes.map(encodeOutcome));
  }
}
