/**
 * The processes that a launcher started together: joins them, checks that they are the same run,
 * and carries messages among them.
 *
 * @module
 */
import { AbortedError } from "../parallel/collective.ts";
import type { LaunchedCollective } from "../parallel/launched.ts";
import type { RankStatus } from "../parallel/state.ts";
import { errorText, EXIT_CODES, UsageError, WorkerError } from "../errors.ts";
import { joinLaunched } from "./join.ts";
import type { Launch } from "./launch.ts";
import { PROTOCOL_VERSION } from "./protocol.ts";
import { gatherJson } from "./words.ts";

/** How to join. */
export interface GroupOptions {
  /** What all ranks must have in common, by names that people know: version, command line. */
  readonly identity: Readonly<Record<string, string>>;
  /** See `JoinOptions.jobSecret`. */
  readonly jobSecret?: Uint8Array<ArrayBuffer> | undefined;
  /** How long a rank may make no progress. */
  readonly timeoutMs: number;
  /** How long the others may take to come. */
  readonly startTimeoutMs: number;
  /** Writes a line for people. */
  readonly log: (line: string) => void;
  /** Ends the process; called when the run cannot go on in the midst of work. */
  readonly exit: (code: number) => never;
}

/** What the ranks tell each other at the start. */
interface Member {
  readonly protocol: number;
  readonly node: string;
  /** Its number on its node, if the launcher said it. */
  readonly local: number | undefined;
  readonly identity: Readonly<Record<string, string>>;
}

/** This process's end of the group. */
export class RankGroup {
  readonly rank: number;
  readonly size: number;
  readonly collective: LaunchedCollective;
  readonly status: RankStatus;
  readonly #options: GroupOptions;
  readonly #launch: Launch;
  #members: readonly Member[] = [];
  #ended = false;
  #isFailing = false;
  /** Whether all ranks find the same fault, which is rank 0's to tell. */
  #isFaultOfAll = false;

  private constructor(
    collective: LaunchedCollective,
    options: GroupOptions & { launch: Launch },
  ) {
    this.collective = collective;
    this.rank = collective.rank;
    this.size = collective.size;
    this.status = collective.status;
    this.#launch = options.launch;
    this.#options = options;
  }

  /**
   * Joins the others; they are known after `meet()`.
   *
   * @throws As `joinLaunched()`.
   */
  static async join(launch: Launch, options: GroupOptions): Promise<RankGroup> {
    const holder: { group?: RankGroup } = {};
    const { timeoutMs, startTimeoutMs, jobSecret, log } = options;
    const collective = await joinLaunched(launch, {
      ...{ timeoutMs, startTimeoutMs, jobSecret, log },
      node: nodeName(),
      onLost: (error) => holder.group?.fail(error),
    });
    const group = new RankGroup(collective, { ...options, launch });
    holder.group = group;
    return group;
  }

  /** The number of ranks on this machine, as the launcher said it, or as the ranks told. */
  get localSize(): number {
    return this.#launch.localSize ?? Math.max(1, this.#ranksOfNode(this.rank).length);
  }

  /** `rank 3 (node n2, local 1)`. */
  describe(rank: number): string {
    const member = this.#members[rank];
    if (member === undefined) return `rank ${rank}`;
    const local = member.local ?? this.#ranksOfNode(rank).indexOf(rank);
    return `rank ${rank} (node ${member.node}, local ${local})`;
  }

  /** The ranks on the machine of one of them, in order; empty before all have met. */
  #ranksOfNode(rank: number): number[] {
    const node = this.#members[rank]?.node;
    return this.#members.flatMap((member, other) => member.node === node ? [other] : []);
  }

  /** Takes leave of the others after a run that went well; all ranks must do so. */
  async leave(): Promise<void> {
    if (this.#ended) return;
    this.#ended = true;
    await this.collective.leave();
  }

  /**
   * Tells the others that the run ends because of an error here, and agrees with them on who tells the
   * user. That one calls `told()` then; for the others this returns after it.
   *
   * @returns Whether this rank is the one to tell the user.
   */
  async abandon(error: unknown): Promise<boolean> {
    // The end of this process is on its way.
    if (this.#isFailing) return await new Promise<boolean>(() => {});
    if (this.#ended) return false;
    this.#ended = true;
    const { ending } = this.collective;
    const isOthersToTell = this.#isFaultOfAll && this.rank > 0;
    if (!(error instanceof AbortedError) && !isOthersToTell) {
      this.collective.abort(errorText(error));
      if (await ending.agree() && this.#mayTell(error)) return true;
    }
    // A launcher ends all processes with the first one.
    await ending.untilTold();
    return false;
  }

  /** Lets the others end, when the user has been told. */
  async told(): Promise<void> {
    await this.collective.ending.told();
  }

  /**
   * Whoever cannot agree with the others tells what only it knows, and one of each node that rank 0
   * is lost, which all of them notice.
   */
  #mayTell(error: unknown): boolean {
    const isHubLost = error instanceof WorkerError && error.rank === 0;
    if (!this.collective.isCutOff || !isHubLost) return true;
    const [first = this.rank] = this.#ranksOfNode(this.rank).filter((rank) => rank > 0);
    return first === this.rank;
  }

  /** Ends this process because a rank is lost; only who noticed it first says so. */
  async fail(error: WorkerError): Promise<void> {
    if (this.#ended) return;
    const abandoned = this.abandon(error);
    this.#isFailing = true;
    if (await abandoned) {
      this.#options.log(this.lossText(error));
      await this.told();
    }
    this.#options.exit(EXIT_CODES.workerLost);
  }

  /** The line about a lost rank. */
  lossText(error: WorkerError): string {
    return `${this.describe(error.rank >= 0 ? error.rank : this.rank)}: ${error.message}`;
  }

  /**
   * Finds out, by one small all-gather, whether this is the same run everywhere.
   *
   * @throws {UsageError} If the ranks are not the same run, on all of them.
   * @throws {WorkerError} If a rank is lost.
   */
  async meet(): Promise<void> {
    const { identity } = this.#options;
    const local = this.#launch.localRank;
    const own: Member = { protocol: PROTOCOL_VERSION, node: nodeName(), local, identity };
    this.#members = await gatherJson(this.collective, own) as Member[];
    const [first = own] = this.#members;
    for (const [rank, member] of this.#members.entries()) {
      const expected = fields(first);
      for (const [name, value] of Object.entries(fields(member))) {
        if (expected[name] === value) continue;
        await this.collective.barrier();
        this.#isFaultOfAll = true;
        throw new UsageError(
          `Cannot run together as all ranks must have the same ${name}: ${this.describe(0)} has ` +
            `'${expected[name]}', ${this.describe(rank)} '${value}'`,
        );
      }
    }
    this.status.enter("idle");
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
