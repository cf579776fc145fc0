/**
 * `-nn M -np N`: starts this program again on the nodes of a Slurm allocation.
 *
 * @module
 */
import { errorText, EXIT_CODES, UsageError, WorkerError } from "../../lib/errors.ts";
import {
  checkAllocation,
  chooseMpiPlugin,
  type Environment,
  srunCommand,
} from "../../lib/team/launch.ts";
import type { Cleanup } from "./model_session.ts";

/** What to start. */
export interface NodesOptions {
  readonly nodes: number;
  readonly tasksPerNode: number;
  /** This program's arguments, the subcommand first. */
  readonly args: readonly string[];
  readonly env: Environment;
  /** The module that is run. */
  readonly entry: URL;
  readonly cleanup: Cleanup;
}

/** What a rank reads, writes and calls; MPI and its launcher speak through the environment. */
const PERMISSIONS = [
  ...["--quiet", "--no-prompt", "--allow-read", "--allow-write", "--allow-env", "--allow-sys"],
  ...["--allow-ffi", "--allow-run"],
];

/**
 * Runs the command on the nodes and waits for its end.
 *
 * @returns The exit code: the command's own, or the one of lost workers.
 * @throws {UsageError} Outside of an allocation that has the nodes; the message shows the command.
 * @throws {WorkerError} If srun cannot be started.
 */
export async function runOnNodes(options: NodesOptions): Promise<number> {
  const { nodes, tasksPerNode, args, env, entry } = options;
  const program = entry.protocol === "file:" ? decodeURIComponent(entry.pathname) : entry.href;
  const command = [Deno.execPath(), "run", ...PERMISSIONS, program, ...args];
  checkAllocation(env, { nodes, tasksPerNode, mpi: "pmix", command });
  try {
    const mpi = chooseMpiPlugin(await listPlugins());
    const [srun = "srun", ...words] = srunCommand({ nodes, tasksPerNode, mpi, command });
    return await runToEnd([srun, ...words], options);
  } catch (error) {
    const isRefused = error instanceof Deno.errors.NotCapable;
    if (!isRefused && !(error instanceof Deno.errors.NotFound)) throw error;
    const line = srunCommand({ nodes, tasksPerNode, mpi: undefined, command }).join(" ");
    if (isRefused) throw new UsageError(`--num_nodes: srun must be allowed; start it by: ${line}`);
    throw new WorkerError(`Cannot start srun: ${errorText(error)}`, { rank: -1, phase: "start" });
  }
}

async function listPlugins(): Promise<string> {
  const { stdout, stderr } = await new Deno.Command("srun", { args: ["--mpi=list"] }).output();
  // Some versions of Slurm write the list to standard error.
  return new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
}

/** Lets a program have this one's terminal, and ends it with this one. */
async function runToEnd(
  [program = "", ...args]: readonly string[],
  options: { cleanup: Cleanup },
): Promise<number> {
  const child = new Deno.Command(program, {
    args,
    stdin: "null",
    stdout: "inherit",
    stderr: "inherit",
  }).spawn();
  using _guard = options.cleanup.onInterrupt(async () => {
    child.kill("SIGTERM");
    await child.status;
  });
  return exitCode(await child.status);
}

/** Slurm passes the highest code of all tasks on; what is not ours means that one was lost. */
function exitCode(status: Deno.CommandStatus): number {
  const own: readonly number[] = Object.values(EXIT_CODES);
  return own.includes(status.code) ? status.code : EXIT_CODES.workerLost;
}
