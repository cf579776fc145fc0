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
  withoutLauncher,
} from "../../lib/team/launch.ts";
import { DONE_VARIABLE, doneLine } from "./done.ts";
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
  ...["--quiet", "--no-prompt", "--no-code-cache", "--allow-read", "--allow-write", "--allow-env"],
  "--allow-sys",
  ...["--allow-ffi", "--allow-run"],
];

/**
 * Runs the command on the nodes and waits for its end.
 *
 * @returns The exit code: the command's own, or the one of lost workers.
 * @throws {UsageError} Outside of an allocation that has the nodes; the message shows the command.
 * @throws {WorkerError} If srun cannot be started, or ends well without rank 0's word.
 */
export async function runOnNodes(options: NodesOptions): Promise<number> {
  const { nodes, tasksPerNode, args, env, entry } = options;
  const program = entry.protocol === "file:" ? decodeURIComponent(entry.pathname) : entry.href;
  const command = [Deno.execPath(), "run", ...PERMISSIONS, program, ...args];
  checkAllocation(env, { nodes, tasksPerNode, mpi: "pmix", command });
  try {
    const mpi = chooseMpiPlugin(await listPlugins());
    const token = crypto.randomUUID();
    const step = `starx-${token}`;
    const srun = srunCommand({ nodes, tasksPerNode, mpi, name: step, command });
    return await runToEnd(srun, { ...options, step, token });
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

/** Runs srun to its end, and ends its step with this program. */
async function runToEnd(
  srun: readonly string[],
  options: { cleanup: Cleanup; step: string; token: string },
): Promise<number> {
  const { cleanup, step, token } = options;
  const [program = "", ...args] = withoutLauncher(srun);
  const child = new Deno.Command(program, {
    args,
    env: { [DONE_VARIABLE]: token },
    stdin: "null",
    stdout: "inherit",
    stderr: "piped",
  }).spawn();
  using _guard = cleanup.onInterrupt(async () => {
    // Upon a signal of its own srun has all ranks killed at once; signalled by the step they end.
    if (!await signalStep(step)) child.kill("SIGTERM");
    await child.status;
  });
  const isDone = await passLines(child.stderr, doneLine(token));
  return exitCode(await child.status, isDone);
}

/** Sends SIGTERM to the ranks of a step. @returns Whether it was found. */
async function signalStep(name: string): Promise<boolean> {
  try {
    const list = await new Deno.Command("squeue", {
      args: ["--steps", "--noheader", "--format=%i|%j"],
    }).output();
    const lines = new TextDecoder().decode(list.stdout).split("\n").map((line) => line.split("|"));
    const [id] = lines.find((line) => line[1]?.trim() === name) ?? [];
    if (id === undefined) return false;
    const { success } = await new Deno.Command("scancel", {
      args: ["--signal=TERM", id.trim()],
    }).output();
    return success;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

/**
 * Passes a text on as it comes, all but a line.
 *
 * @returns Whether that line came.
 */
async function passLines(stream: ReadableStream<Uint8Array>, hidden: string): Promise<boolean> {
  let isFound = false;
  let held = "";
  const write = (text: string) => Deno.stderr.writeSync(new TextEncoder().encode(text));
  for await (const text of stream.pipeThrough(new TextDecoderStream())) {
    const lines = (held + text).split(/(?<=\n)/);
    held = "";
    for (const line of lines) {
      if (line.trimEnd() === hidden) isFound = true;
      // The rest of a line may be under way.
      else if (!line.endsWith("\n") && hidden.startsWith(line)) held = line;
      else write(line);
    }
  }
  if (held === hidden) isFound = true;
  else write(held);
  return isFound;
}

/**
 * Slurm passes the highest code of all tasks on; what is not ours means that one was lost. That all
 * went well is rank 0's to say: launchers have returned 0 although ranks were killed.
 */
function exitCode(status: Deno.CommandStatus, isDone: boolean): number {
  const own: readonly number[] = Object.values(EXIT_CODES);
  if (status.code === EXIT_CODES.done && !isDone) {
    throw new WorkerError("Lost the ranks: srun ended without an error, and rank 0 is not done", {
      rank: 0,
      phase: "unknown",
    });
  }
  return own.includes(status.code) ? status.code : EXIT_CODES.workerLost;
}
