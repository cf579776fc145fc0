/**
 * What a launcher (torchrun, mpirun, srun, Kubernetes) has told this process by its environment:
 * its rank, and how many there are.
 *
 * Three kinds of variables are trusted in this order: RANK and WORLD_SIZE, which only somebody who
 * means this program sets; then those of Open MPI, PMI and PMIx; then Slurm's, and these only with
 * several tasks in the step, as a launcher inside of an allocation inherits the variables of its own
 * step. Everything here is pure.
 *
 * @module
 */
import { environmentVariable } from "../environment.ts";
import { UsageError } from "../errors.ts";
import type { MpiFlavour } from "../ffi/mpi.ts";

/** Environment variables by their names. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** Whose variables were found. */
export type Launcher = "RANK and WORLD_SIZE" | "Open MPI" | "PMI" | "PMIx" | "Slurm";

/** A process's place among those that were started with it. */
export interface Launch {
  readonly launcher: Launcher;
  readonly rank: number;
  readonly size: number;
  /** Its number on its machine, and how many there are; undefined where nobody says. */
  readonly localRank: number | undefined;
  readonly localSize: number | undefined;
  /** Where rank 0 can be met over TCP. */
  readonly master: { readonly address: string; readonly port: number } | undefined;
  /** The MPI library that the launcher serves; undefined if it serves none. */
  readonly mpi: MpiFlavour | undefined;
}

/** All variables that are looked at: what `--allow-env` has to name. */
const LAUNCH_VARIABLES = [
  ...["RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"],
  "TORCHELASTIC_USE_AGENT_STORE",
  ...["OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"],
  ...["OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_SIZE"],
  ...["PMI_RANK", "PMI_SIZE", "PMI_FD", "MPI_LOCALRANKID", "MPI_LOCALNRANKS", "PMIX_RANK"],
  ...["SLURM_JOB_ID", "SLURM_JOB_NUM_NODES", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS"],
  ...["SLURM_LOCALID", "SLURM_STEP_TASKS_PER_NODE", "SLURM_NODEID", "SLURMD_NODENAME"],
] as const;

/** The variables that this process may read. */
export function launchEnvironment(): Environment {
  const found: Record<string, string> = {};
  for (const variable of LAUNCH_VARIABLES) {
    const value = environmentVariable(variable);
    if (value !== undefined) found[variable] = value;
  }
  return found;
}

/** The names of one launcher's variables. */
interface Names {
  readonly rank: string;
  readonly size: string;
  readonly localRank: string;
  readonly localSize: string;
}

const NAMES: Readonly<Record<Launcher, Names>> = {
  "RANK and WORLD_SIZE": {
    rank: "RANK",
    size: "WORLD_SIZE",
    localRank: "LOCAL_RANK",
    localSize: "LOCAL_WORLD_SIZE",
  },
  "Open MPI": {
    rank: "OMPI_COMM_WORLD_RANK",
    size: "OMPI_COMM_WORLD_SIZE",
    localRank: "OMPI_COMM_WORLD_LOCAL_RANK",
    localSize: "OMPI_COMM_WORLD_LOCAL_SIZE",
  },
  PMI: {
    rank: "PMI_RANK",
    size: "PMI_SIZE",
    localRank: "MPI_LOCALRANKID",
    localSize: "MPI_LOCALNRANKS",
  },
  // PMIx tells the number of processes only to those that call it; in Slurm the step says it too.
  PMIx: {
    rank: "PMIX_RANK",
    size: "SLURM_STEP_NUM_TASKS",
    localRank: "SLURM_LOCALID",
    localSize: "SLURM_STEP_TASKS_PER_NODE",
  },
  Slurm: {
    rank: "SLURM_PROCID",
    size: "SLURM_STEP_NUM_TASKS",
    localRank: "SLURM_LOCALID",
    localSize: "SLURM_STEP_TASKS_PER_NODE",
  },
};

/** The names of the variables that told a process its place. */
export function rankVariables(launch: Pick<Launch, "launcher">): Names {
  return NAMES[launch.launcher];
}

const ORDER: readonly Launcher[] = ["RANK and WORLD_SIZE", "Open MPI", "PMI", "PMIx", "Slurm"];

/**
 * Finds this process's place.
 *
 * @param env The environment, or the part that `launchEnvironment()` gives.
 * @returns Undefined for a process that was started on its own.
 * @throws {UsageError} If the variables of a launcher contradict each other.
 */
export function recognizeLaunch(env: Environment): Launch | undefined {
  for (const launcher of ORDER) {
    const names = NAMES[launcher];
    if (env[names.rank] === undefined || env[names.size] === undefined) continue;
    const size = readNumber(env, names.size, { min: 1, max: MAX_RANKS });
    // Every Slurm job has such a step, also one whose script starts this program as it is.
    if (launcher === "Slurm" && size === 1) continue;
    const rank = readNumber(env, names.rank, { min: 0, max: size - 1 });
    return {
      launcher,
      rank,
      size,
      ...localPlace(env, names),
      master: masterOf(env),
      mpi: mpiFlavour(env, { launcher, rank, size }),
    };
  }
  return undefined;
}

const MAX_RANKS = 1 << 20;

function localPlace(env: Environment, names: Names): Pick<Launch, "localRank" | "localSize"> {
  const perNode = env[names.localSize];
  const localSize = names.localSize === "SLURM_STEP_TASKS_PER_NODE"
    ? tasksOfNode(perNode, Number(env.SLURM_NODEID ?? "0"))
    : perNode === undefined
    ? undefined
    : readNumber(env, names.localSize, { min: 1, max: MAX_RANKS });
  const max = localSize === undefined ? MAX_RANKS : localSize - 1;
  const localRank = env[names.localRank] === undefined
    ? undefined
    : readNumber(env, names.localRank, { min: 0, max });
  return { localRank, localSize };
}

/** Reads Slurm's `2(x3),1`: tasks per node in the nodes' order, repeated ones in short. */
export function tasksOfNode(text: string | undefined, node: number): number | undefined {
  if (text === undefined || !/^\d+(\(x\d+\))?(,\d+(\(x\d+\))?)*$/.test(text)) return undefined;
  let passed = 0;
  for (const entry of text.split(",")) {
    const [, tasks = "0", times = "1"] = /^(\d+)(?:\(x(\d+)\))?$/.exec(entry) ?? [];
    passed += Number(times);
    if (node < passed) return Number(tasks);
  }
  return undefined;
}

function masterOf(env: Environment): Launch["master"] {
  const address = env.MASTER_ADDR;
  if (address === undefined || address === "" || env.MASTER_PORT === undefined) return undefined;
  const port = readNumber(env, "MASTER_PORT", { min: 1, max: MAX_PORT });
  // With this variable torchrun's own agent listens at the port that it names.
  const isTaken = env.TORCHELASTIC_USE_AGENT_STORE === "True";
  return { address, port: isTaken ? port === MAX_PORT ? port - 1 : port + 1 : port };
}

const MAX_PORT = 65_535;

/** Variables of an MPI launcher that say other numbers are inherited from above the launcher. */
function mpiFlavour(
  env: Environment,
  place: Pick<Launch, "launcher" | "rank" | "size">,
): MpiFlavour | undefined {
  if (place.launcher === "RANK and WORLD_SIZE") {
    const says = (launcher: "Open MPI" | "PMI" | "PMIx") => {
      const { rank, size } = NAMES[launcher];
      if (env[rank] === undefined) return true;
      // PMIx says no size; that of the Slurm step is not the one of an mpirun inside of it.
      const isSize = launcher === "PMIx" || env[size] === String(place.size);
      return env[rank] === String(place.rank) && isSize;
    };
    if (!says("Open MPI") || !says("PMI") || !says("PMIx")) return undefined;
  }
  if (env.OMPI_COMM_WORLD_RANK !== undefined || env.PMIX_RANK !== undefined) return "openmpi";
  return env.PMI_RANK === undefined && env.PMI_FD === undefined ? undefined : "mpich";
}

function readNumber(
  env: Environment,
  name: string,
  limits: { min: number; max: number },
): number {
  const text = env[name] ?? "";
  const value = /^\d{1,9}$/.test(text) ? Number(text) : NaN;
  if (value >= limits.min && value <= limits.max) return value;
  throw new UsageError(
    `Cannot find this process's rank as ${name} must be a whole number from ${limits.min} to ` +
      `${limits.max}: current value is '${text}'`,
  );
}

/**
 * What was recognised, for people.
 *
 * @param env As `recognizeLaunch()` takes it.
 */
export function describeLaunch(env: Environment): string[] {
  const job = env.SLURM_JOB_ID;
  const nodes = env.SLURM_JOB_NUM_NODES ?? "?";
  const place = job === undefined ? [] : [`inside of Slurm job ${job} on ${nodes} nodes`];
  let launch: Launch | undefined;
  try {
    launch = recognizeLaunch(env);
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    return [error.message, ...place];
  }
  if (launch === undefined) return ["started on its own, by no launcher", ...place];
  const { launcher, rank, size, localRank, localSize, master, mpi } = launch;
  const local = localRank === undefined
    ? ""
    : `, local ${localRank}${localSize === undefined ? "" : ` of ${localSize}`}`;
  return [
    `rank ${rank} of ${size}${local}, by the variables of ${launcher}`,
    `exchange on CPUs: ${exchangeText({ mpi, master })}`,
    ...place,
  ];
}

function exchangeText({ mpi, master }: Pick<Launch, "mpi" | "master">): string {
  if (mpi !== undefined) return `MPI (${mpi})`;
  return master === undefined
    ? "none, as there is no MPI, nor MASTER_ADDR with MASTER_PORT"
    : `TCP, by way of rank 0 at ${master.address}, port ${master.port}`;
}

/** How to start ranks on several nodes. */
export interface SrunOptions {
  readonly nodes: number;
  readonly tasksPerNode: number;
  /** Slurm's plugin for MPI; undefined leaves it to Slurm's configuration. */
  readonly mpi: "pmix" | "pmi2" | undefined;
  /** The step's name, by which it can be found again. */
  readonly name?: string;
  /** The program and its arguments. */
  readonly command: readonly string[];
}

/** The command line that starts the ranks; any of them that fails ends all. */
export function srunCommand(options: SrunOptions): string[] {
  const { nodes, tasksPerNode, mpi, name, command } = options;
  return [
    "srun",
    `--nodes=${nodes}`,
    `--ntasks-per-node=${tasksPerNode}`,
    "--kill-on-bad-exit=1",
    ...(mpi === undefined ? [] : [`--mpi=${mpi}`]),
    ...(name === undefined ? [] : [`--job-name=${name}`]),
    ...command,
  ];
}

/** The plugin to take, from what `srun --mpi=list` prints. */
export function chooseMpiPlugin(list: string): SrunOptions["mpi"] {
  const names = list.split(/\s+/);
  return names.includes("pmix") ? "pmix" : names.includes("pmi2") ? "pmi2" : undefined;
}

/**
 * Variables by which a launcher, and MPI once it has started, speak to one process. A launcher that
 * is started from there takes itself for a rank and fails without a word; what a user has set for
 * MPI is kept.
 */
const OWN_VARIABLES =
  "PMIX_|PMI_|PRTE_|HYDI_|MPI_LOCAL|OMPI_(COMM_WORLD|UNIVERSE|NUM_|FIRST_|APP_|" +
  "COMMAND|ARGV|FILE_)|OMPI_MCA_(orte_|ess|pmix|initial_|rmaps_|mpi_oversubscribe|shmem_)";

/** The command line that starts a launcher with none of the variables that another one has set. */
export function withoutLauncher(command: readonly string[]): string[] {
  // The environment may be one that this process may not read: a shell sees all of it.
  const names = `env | sed -nE 's/^((${OWN_VARIABLES})[A-Za-z0-9_]*)=.*/\\1/p'`;
  return [
    "sh",
    "-c",
    `for name in $(${names}); do unset "$name"; done; exec "$@"`,
    "sh",
    ...command,
  ];
}

/**
 * Checks that nodes can be asked for.
 *
 * @throws {UsageError} Outside of an allocation that has them; the message shows the command line.
 */
export function checkAllocation(env: Environment, options: SrunOptions): void {
  const { nodes } = options;
  const available = env.SLURM_JOB_ID === undefined ? 0 : Number(env.SLURM_JOB_NUM_NODES ?? "1");
  if (available >= nodes) return;
  const found = available === 0
    ? "no Slurm allocation"
    : `an allocation of ${available} node${available === 1 ? "" : "s"}`;
  throw new UsageError(
    `--num_nodes: must be at most the nodes of the Slurm allocation: current value is ${nodes} ` +
      `in ${found}; start it by: ${srunCommand(options).map(quote).join(" ")}`,
  );
}

/** A word as a shell takes it. */
function quote(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}
