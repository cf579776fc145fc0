/**
 * What launched processes exchange over: MPI where the launcher serves one and its library is
 * there, else TCP by way of rank 0, if all ranks know where that is and share a key.
 *
 * @module
 */
import { DeviceError, UsageError, type WorkerError } from "../errors.ts";
import type { LaunchedCollective } from "../parallel/launched.ts";
import { MpiCollective } from "../parallel/mpi.ts";
import { TcpCollective } from "../parallel/tcp.ts";
import { importJobKey } from "../parallel/tcp_handshake.ts";
import type { Launch } from "./launch.ts";
import { waitForRanks } from "./local_ranks.ts";

/** How to join. */
export interface JoinOptions {
  /** What the ranks show each other over TCP that they know; undefined if there is none. */
  readonly jobSecret: Uint8Array<ArrayBuffer> | undefined;
  /** How long a rank may make no progress. */
  readonly timeoutMs: number;
  /** How long the others may take to come. */
  readonly startTimeoutMs: number;
  /** This machine's name. */
  readonly node: string;
  /** Writes a line for people. */
  readonly log: (line: string) => void;
  readonly onLost: (error: WorkerError) => void;
}

/** How much longer than the processes' watch the library itself may wait for the ranks. */
const GRACE_MS = 5_000;

/**
 * Joins the others.
 *
 * @throws {UsageError} If there is nothing to exchange over, or a rank is refused.
 * @throws {DeviceError} If the MPI library cannot be opened, or rank 0 cannot listen.
 * @throws {WorkerError} If not all ranks come.
 */
export async function joinLaunched(
  launch: Launch,
  options: JoinOptions,
): Promise<LaunchedCollective> {
  if (launch.mpi === undefined) return await joinTcp(launch, options);
  try {
    return await joinMpi(launch, { ...options, flavour: launch.mpi });
  } catch (error) {
    const canDoWithout = launch.master !== undefined && options.jobSecret !== undefined;
    if (!(error instanceof DeviceError) || !canDoWithout) throw error;
    if (launch.rank === 0) options.log(`${error.message}; the ranks exchange over TCP instead`);
    return await joinTcp(launch, options);
  }
}

async function joinMpi(
  launch: Launch,
  options: JoinOptions & { flavour: NonNullable<Launch["mpi"]> },
): Promise<LaunchedCollective> {
  const { rank, size, launcher } = launch;
  const { flavour, timeoutMs, startTimeoutMs, node, onLost } = options;
  const start = MpiCollective.join({
    flavour,
    timeoutMs,
    // Who looks at the processes knows more, and is to say it.
    startTimeoutMs: startTimeoutMs + GRACE_MS,
    onLost,
  });
  const collective = await waitForRanks(start, { launch, node, timeoutMs: startTimeoutMs });
  if (collective.rank === rank && collective.size === size) return collective;
  throw new UsageError(
    `Cannot join as MPI must say what ${launcher} says, rank ${rank} of ${size}: ` +
      `current value is rank ${collective.rank} of ${collective.size}`,
  );
}

async function joinTcp(launch: Launch, options: JoinOptions): Promise<LaunchedCollective> {
  const { rank, size, master } = launch;
  const { jobSecret, timeoutMs, startTimeoutMs, node, onLost } = options;
  if (master === undefined) {
    throw new UsageError(
      `Cannot join ${size} ranks as the launcher serves no MPI and does not say where rank 0 is: ` +
        "start them by mpirun, or by srun --mpi=pmix, or set MASTER_ADDR and MASTER_PORT",
    );
  }
  if (jobSecret === undefined) {
    throw new UsageError(
      `Cannot join ${size} ranks over TCP as they need a key in common: set STARX_JOB_KEY for ` +
        "all ranks, and let them read it ('deno task nodes'), or give --job_key FILE",
    );
  }
  const key = await importJobKey(jobSecret);
  const { address, port } = master;
  const start = TcpCollective.join({
    ...{ rank, size, address, port, key, timeoutMs, startTimeoutMs, onLost },
  });
  // Over TCP rank 0 knows best who has come; only an end is seen earlier among the processes.
  const watch = { launch, node, timeoutMs: startTimeoutMs + GRACE_MS };
  return await waitForRanks(start, watch);
}
