/**
 * The processes that a launcher started together: joins them, checks that they are the same run,
 * and carries messages among them.
 *
 * @module
 */
import { AbortedError } from "../parallel/collective.ts";
import { MpiCollective } from "../parallel/mpi.ts";
import type { RankStatus } from "../parallel/state.ts";
import { errorText, EXIT_CODES, UsageError, type WorkerError } from "../errors.ts";
import type { Launch } from "./launch.ts";
import { PROTOCOL_VERSION } from "./protocol.ts";
import { gatherJson } from "./words.ts";

/** How to join. */
export interface GroupOptions {
  /** What all ranks must have in common, by names that people know: version, command line. */
  readonly identity: Readonly<Record<string, string>>;
  /** How long a rank may make no progress. */
  readonly timeoutMs: number;
  /** Writes a line for people. */
  readonly log: (line: string) => void;
  /** Ends the process; called when the run cannot go on in the midst of work. */
  readonly exit: (code: number) => never;
}

/** What the ranks tell each other at the start. */
interface Member {
  readonly protocol: number;
  readonly node: string;
  readonly local: number;
  readonly identity: Readonly<Record<string, string>>;
}

/** How long the word that the run ends may take to reach the others. */
const FAREWELL_MS = 120;
/** The launcher ends all processes with the first one; who has something to say goes first. */
const QUIET_MS = 500;

/** This process's end of the group. */
export class RankGroup {
  readonly rank: number;
  readonly size: number;
  readonly collective: MpiCollective;
  readonly status: RankStatus;
  /** Ranks on this machine, and this one's number among them. */
  readonly localSize: number;
  readonly localRank: number;
  readonly #options: GroupOptions;
  #members: readonly Member[] = [];
  #ended = false;
  #isFailing = false;

  private constructor(
    collective: MpiCollective,
    options: GroupOptions & { launch: Launch },
  ) {
    this.collective = collective;
    this.rank = collective.rank;
    this.size = collective.size;
    this.status = collective.status;
    this.localSize = options.launch.localSize ?? 1;
    this.localRank = options.launch.localRank ?? 0;
    this.#options = options;
  }

  /**
   * Joins the others.
   *
   * @throws {UsageError} If the launcher serves no MPI, or the ranks are not the same run.
   * @throws {DeviceError} If the MPI library cannot be opened.
   * @throws {WorkerError} If not all ranks come.
   */
  static async join(launch: Launch, options: GroupOptions): Promise<RankGroup> {
    const { mpi: flavour, rank, size, launcher } = launch;
    if (flavour === undefined) {
      throw new UsageError(
        `Cannot join ${size} ranks as processes exchange over MPI, which the launcher does not ` +
          "serve: start them by mpirun, or by srun --mpi=pmix",
      );
    }
    const holder: { group?: RankGroup } = {};
    const collective = await MpiCollective.join({
      flavour,
      timeoutMs: options.timeoutMs,
      onLost: (error) => holder.group?.fail(error),
    });
    if (collective.rank !== rank || collective.size !== size) {
      throw new UsageError(
        `Cannot join as MPI must say what ${launcher} says, rank ${rank} of ${size}: ` +
          `current value is rank ${collective.rank} of ${collective.size}`,
      );
    }
    const group = new RankGroup(collective, { ...options, launch });
    holder.group = group;
    await group.#meet(launch);
    group.status.enter("idle");
    return group;
  }

  /** `rank 3 (node n2, local 1)`. */
  describe(rank: number): string {
    const member = this.#members[rank];
    return member === undefined
      ? `rank ${rank}`
      : `rank ${rank} (node ${member.node}, local ${member.local})`;
  }

  /** Takes leave of the others after a run that went well; all ranks must do so. */
  async leave(): Promise<void> {
    if (this.#ended) return;
    this.#ended = true;
    await this.collective.leave();
  }

  /**
   * Tells the others that the run ends because of an error here; the launcher ends all.
   *
   * @returns Whether this rank is the one to tell the user.
   */
  async abandon(error: unknown): Promise<boolean> {
    // The end of this process is on its way.
    if (this.#isFailing) return await new Promise<boolean>(() => {});
    if (this.#ended) return false;
    this.#ended = true;
    if (!(error instanceof AbortedError)) {
      this.collective.abort(errorText(error));
      if (await this.collective.settle(FAREWELL_MS) === this.rank) return true;
    }
    await this.collective.settle(QUIET_MS);
    return false;
  }

  /** Ends this process because a rank is lost; only who noticed it first says so. */
  async fail(error: WorkerError): Promise<void> {
    if (this.#ended) return;
    const abandoned = this.abandon(error);
    this.#isFailing = true;
    if (await abandoned) this.#options.log(this.lossText(error));
    this.#options.exit(EXIT_CODES.workerLost);
  }

  /** The line about a lost rank. */
  lossText(error: WorkerError): string {
    return `${this.describe(error.rank >= 0 ? error.rank : this.rank)}: ${error.message}`;
  }

  /** One small all-gather: is this the same run everywhere? */
  async #meet(launch: Launch): Promise<void> {
    const { identity } = this.#options;
    const local = launch.localRank ?? 0;
    const own: Member = { protocol: PROTOCOL_VERSION, node: nodeName(), local, identity };
    this.#members = await gatherJson(this.collective, own) as Member[];
    const [first = own] = this.#members;
    for (const [rank, member] of this.#members.entries()) {
      const expected = fields(first);
      for (const [name, value] of Object.entries(fields(member))) {
        if (expected[name] === value) continue;
        await this.collective.barrier();
        throw new UsageError(
          `Cannot run together as all ranks must have the same ${name}: ${this.describe(0)} has ` +
            `'${expected[name]}', ${this.describe(rank)} '${value}'`,
        );
      }
    }
  }
}

function fields(member: Member): Record<string, string> {
  return { protocol: String(member.protocol), ...member.identity };
}

/** The machine's name, where this process may ask for it. */
function nodeName(): string {
  const { state } = Deno.permissions.querySync({ name: "sys", kind: "hostname" });
  return state === "granted" ? Deno.hostname() : "unknown";
}
