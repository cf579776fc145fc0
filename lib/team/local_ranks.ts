/**
 * The ranks of this node while they start: MPI's own start waits for all and tells nothing, so each
 * rank shows in its thread's name that it has come, and looks for the others among the processes.
 *
 * @module
 */
import { WorkerError } from "../errors.ts";
import { Libc } from "../ffi/libc.ts";
import {
  listProcesses,
  type ProcessFacts,
  readEnvironment,
  readProcess,
} from "../ffi/processes.ts";
import { AbortedError } from "../parallel/collective.ts";
import { type Launch, rankVariables } from "./launch.ts";

/** The thread's name of a rank that has come. */
const COME = "starx joins";
/** Variables that only the processes of one start have in common. */
const COMMON = ["PMIX_NAMESPACE", "SLURM_JOB_ID", "SLURM_STEP_ID", "PMI_JOBID"] as const;

/** A rank's process, as it was seen first; a `deno task` above it looks like another one. */
interface Seen {
  readonly rank: number;
  readonly process: ProcessFacts;
  /** Whether it has ever shown that it has come. */
  hasCome: boolean;
}

/** What is known of the ranks of this node. */
export interface LocalPresence {
  /** The ranks that have come, this one included. */
  readonly come: readonly number[];
  /** Ranks whose processes are there but have not come. */
  readonly late: readonly number[];
  /** Ranks whose processes have ended. */
  readonly ended: readonly number[];
  /** Ranks of which no process was ever seen. */
  readonly absent: readonly number[];
}

/** Launchers' processes on a rank's node: who is below one sees what it has started. */
const LAUNCHERS = /^(mpirun|mpiexec|orterun|orted|prte|hydra_pmi|srun|slurmstepd)/;
/** A launcher starts the ranks of a node one right after the other. */
const ABSENT_MS = 5_000;

/** Shows that this rank has come, and looks for the others of this node. */
export class LocalRanks implements Disposable {
  readonly #libc: Libc | undefined;
  readonly #launch: Launch;
  readonly #own: ReadonlyMap<string, string>;
  readonly #parent: number;
  readonly #name: string;
  readonly #seen = new Map<number, Seen>();
  /** Processes that are none of them. */
  readonly #others = new Set<string>();
  readonly #isBelowLauncher: boolean;

  constructor(launch: Launch) {
    this.#launch = launch;
    const libc = Deno.build.os === "linux" ? new Libc() : undefined;
    this.#libc = libc;
    const own = libc && readProcess(libc, Deno.pid);
    this.#name = own?.name ?? "";
    this.#parent = own?.parent ?? -1;
    this.#own = libc && readEnvironment(libc, "self") || new Map();
    this.#isBelowLauncher = libc !== undefined && own !== undefined && isBelowLauncher(libc, own);
    libc?.nameThread(COME);
  }

  /** Whether a rank that was not seen so far is not there: all processes of the start are visible. */
  get seesAll(): boolean {
    return this.#isBelowLauncher;
  }

  /** Looks at the processes of this node. */
  look(): LocalPresence {
    const libc = this.#libc;
    if (libc === undefined) return { come: [this.#launch.rank], late: [], ended: [], absent: [] };
    this.#discover(libc);
    const found = Array.from(
      this.#seen.values(),
      (seen) => ({ ...seen, ...this.#place(libc, seen) }),
    );
    const all = [...new Set(found.map(({ rank }) => rank))].sort((a, b) => a - b);
    const of = (rank: number) => found.filter((seen) => seen.rank === rank);
    const ended = all.filter((rank) => of(rank).every(({ isThere }) => !isThere));
    const isCome = (rank: number) => of(rank).some(({ hasCome }) => hasCome);
    const there = all.filter((rank) => !ended.includes(rank));
    return {
      come: there.filter(isCome),
      late: there.filter((rank) => !isCome(rank)),
      ended,
      absent: expectedHere(this.#launch, all).filter((rank) => !all.includes(rank)),
    };
  }

  #place(libc: Libc, seen: Seen): { isThere: boolean; hasCome: boolean } {
    const { pid, startTicks } = seen.process;
    const now = readProcess(libc, pid);
    const isThere = now?.isRunning === true && now.startTicks === startTicks;
    seen.hasCome ||= isThere && now.name === COME;
    return { isThere, hasCome: seen.hasCome };
  }

  #discover(libc: Libc): void {
    for (const pid of listProcesses(libc)) {
      if (this.#seen.has(pid)) continue;
      const process = readProcess(libc, pid);
      if (process === undefined || !process.isRunning) continue;
      const key = `${pid} ${process.startTicks} ${process.name}`;
      if (this.#others.has(key)) continue;
      const rank = this.#rankOf(libc, process);
      if (rank === undefined) this.#others.add(key);
      else this.#seen.set(pid, { rank, process, hasCome: false });
    }
  }

  /** The rank of a process of the same start. */
  #rankOf(libc: Libc, process: ProcessFacts): number | undefined {
    const environment = readEnvironment(libc, process.pid);
    const variables = rankVariables(this.#launch);
    const text = environment?.get(variables.rank);
    if (environment === undefined || text === undefined) return undefined;
    const keys = COMMON.filter((name) => this.#own.has(name));
    const isSame = keys.every((name) => environment.get(name) === this.#own.get(name));
    // What says nothing of the start is at least of the same parent.
    return isSame && (keys.length > 0 || process.parent === this.#parent)
      ? Number(text)
      : undefined;
  }

  /** Gives the thread its name back; a second call does nothing. */
  [Symbol.dispose](): void {
    this.#libc?.nameThread(this.#name);
    this.#libc?.[Symbol.dispose]();
  }
}

/** How often the ranks of this node look for each other. */
const LOOK_MS = 500;

/**
 * Waits for a start that all ranks have to come to.
 *
 * @param start Settles when all have come.
 * @throws {WorkerError} If a rank of this node ends, or not all come in time: it says who is missing.
 * The lowest rank of the node that is there says so, the others throw an `AbortedError`.
 */
export async function waitForRanks<T>(
  start: Promise<T>,
  options: { launch: Launch; node: string; timeoutMs: number },
): Promise<T> {
  const { launch, timeoutMs } = options;
  using ranks = new LocalRanks(launch);
  const startMs = performance.now();
  const late = Promise.withResolvers<never>();
  const timer = setInterval(() => {
    const presence = ranks.look();
    const passedMs = performance.now() - startMs;
    const isOver = passedMs > timeoutMs;
    const isAbsent = ranks.seesAll && passedMs > ABSENT_MS && presence.absent.length > 0;
    if (!isOver && !isAbsent && presence.ended.length === 0) return;
    const cause = missingText(presence, options);
    const text = `Cannot start: not all ranks came${
      isOver ? ` within ${timeoutMs} ms` : ""
    }: ${cause}`;
    const [rank = -1] = [...presence.ended, ...presence.absent, ...presence.late];
    const isFirst = Math.min(...presence.come, launch.rank) === launch.rank;
    const position = { rank, phase: "start" };
    late.reject(isFirst ? new WorkerError(text, position) : new AbortedError(text, position));
  }, LOOK_MS);
  try {
    return await Promise.race([start, late.promise]);
  } finally {
    clearInterval(timer);
  }
}

/**
 * Says who is missing, for a start that did not come to its end.
 *
 * @param node This node's name.
 */
export function missingText(
  presence: LocalPresence,
  options: { launch: Launch; node: string },
): string {
  const { launch, node } = options;
  const { late, ended, absent } = presence;
  const here = launch.localSize ?? launch.size;
  const parts = [
    ...(late.length > 0 ? [`${ranks(late)} (node ${node}) did not come`] : []),
    ...(ended.length > 0 ? [`${ranks(ended)} (node ${node}) ended`] : []),
    ...(absent.length > 0 ? [`${ranks(absent)} (node ${node}) did not start, or ended`] : []),
  ];
  if (parts.length > 0) return parts.join("; ");
  if (here === launch.size) return `all ${launch.size} ranks came, and did not meet`;
  // Whoever has not seen all of its own node does not know which ranks are elsewhere.
  const isKnown = presence.come.length === here;
  const elsewhere = Array.from({ length: launch.size }, (_, rank) => rank)
    .filter((rank) => !presence.come.includes(rank));
  const others = isKnown ? ranks(elsewhere) : `the ${launch.size - here}`;
  return `all ${here} ranks of node ${node} came, not all of ${others} of other nodes`;
}

/**
 * The ranks of this node, as far as they can be known: nodes get ranks in order unless a launcher is
 * told otherwise, which shows in those that were seen.
 */
function expectedHere(launch: Launch, seen: readonly number[]): number[] {
  const { rank, size, localRank, localSize } = launch;
  const count = localSize ?? size;
  const first = count === size ? 0 : rank - (localRank ?? 0);
  const expected = Array.from({ length: count }, (_, i) => first + i);
  return seen.every((rank) => expected.includes(rank)) ? expected : [];
}

function isBelowLauncher(libc: Libc, process: ProcessFacts): boolean {
  for (let next = readProcess(libc, process.parent); next; next = readProcess(libc, next.parent)) {
    if (LAUNCHERS.test(next.name)) return true;
  }
  return false;
}

/** Names ranks; those in a row by the first and the last. */
function ranks(numbers: readonly number[]): string {
  const [first = 0] = numbers;
  const last = numbers.at(-1) ?? first;
  if (numbers.length === 1) return `rank ${first}`;
  const isRow = numbers.length > 3 && numbers.every((rank, i) => rank === first + i);
  return `ranks ${isRow ? `${first} to ${last}` : numbers.join(", ")}`;
}
