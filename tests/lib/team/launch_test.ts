import { UsageError } from "../../../lib/errors.ts";
import {
  checkAllocation,
  chooseMpiPlugin,
  describeLaunch,
  type Environment,
  recognizeLaunch,
  srunCommand,
  tasksOfNode,
} from "../../../lib/team/launch.ts";
import { assertEquals, assertThrows } from "../../helpers/assert.ts";

const PLAIN: Environment = { RANK: "1", WORLD_SIZE: "4", LOCAL_RANK: "1", LOCAL_WORLD_SIZE: "2" };
const OPEN_MPI: Environment = {
  OMPI_COMM_WORLD_RANK: "2",
  OMPI_COMM_WORLD_SIZE: "3",
  OMPI_COMM_WORLD_LOCAL_RANK: "0",
  OMPI_COMM_WORLD_LOCAL_SIZE: "1",
  PMIX_RANK: "2",
};
const HYDRA: Environment = {
  PMI_RANK: "0",
  PMI_SIZE: "2",
  PMI_FD: "6",
  MPI_LOCALRANKID: "0",
  MPI_LOCALNRANKS: "2",
};
const SLURM: Environment = {
  SLURM_JOB_ID: "77",
  SLURM_JOB_NUM_NODES: "2",
  SLURM_PROCID: "3",
  SLURM_STEP_NUM_TASKS: "4",
  SLURM_LOCALID: "1",
  SLURM_NODEID: "1",
  SLURM_STEP_TASKS_PER_NODE: "2(x2)",
};

/** Launcher, rank, size, local rank, local size, MPI. */
function place(env: Environment): unknown[] | undefined {
  const launch = recognizeLaunch(env);
  if (launch === undefined) return undefined;
  const { launcher, rank, size, localRank, localSize, mpi } = launch;
  return [launcher, rank, size, localRank, localSize, mpi];
}

Deno.test("recognizeLaunch() finds nothing in a process that was started on its own", () => {
  assertEquals(recognizeLaunch({}), undefined);
  assertEquals(recognizeLaunch({ RANK: "1" }), undefined);
  assertEquals(recognizeLaunch({ SLURM_JOB_ID: "7", SLURM_PROCID: "0" }), undefined);
});

Deno.test("recognizeLaunch() reads the variables of each launcher", () => {
  assertEquals(place(PLAIN), ["RANK and WORLD_SIZE", 1, 4, 1, 2, undefined]);
  assertEquals(place(OPEN_MPI), ["Open MPI", 2, 3, 0, 1, "openmpi"]);
  assertEquals(place(HYDRA), ["PMI", 0, 2, 0, 2, "mpich"]);
  assertEquals(place(SLURM), ["Slurm", 3, 4, 1, 2, undefined]);
  const viaPmix = { ...SLURM, PMIX_RANK: "3" };
  assertEquals(place(viaPmix), ["PMIx", 3, 4, 1, 2, "openmpi"]);
});

Deno.test("recognizeLaunch() trusts RANK, then MPI's variables, then Slurm's", () => {
  assertEquals(place({ ...SLURM, ...HYDRA, ...OPEN_MPI, ...PLAIN })?.slice(0, 3), [
    "RANK and WORLD_SIZE",
    1,
    4,
  ]);
  assertEquals(place({ ...SLURM, ...HYDRA, ...OPEN_MPI })?.slice(0, 3), ["Open MPI", 2, 3]);
  assertEquals(place({ ...SLURM, ...HYDRA })?.slice(0, 3), ["PMI", 0, 2]);
});

Deno.test("recognizeLaunch() keeps the library of the launcher below RANK and WORLD_SIZE", () => {
  const two = { RANK: "2", WORLD_SIZE: "3" };
  assertEquals(place({ ...OPEN_MPI, ...two })?.[5], "openmpi");
  assertEquals(place({ ...HYDRA, RANK: "0", WORLD_SIZE: "2" })?.[5], "mpich");
  // An mpirun inside of a batch script, whose step has one task.
  assertEquals(place({ ...OPEN_MPI, ...two, SLURM_STEP_NUM_TASKS: "1" })?.[5], "openmpi");
});

Deno.test("recognizeLaunch() takes no MPI of a launcher that counts other ranks", () => {
  assertEquals(place({ ...OPEN_MPI, ...PLAIN })?.[5], undefined);
  assertEquals(place({ ...HYDRA, ...PLAIN })?.[5], undefined);
  assertEquals(place({ ...OPEN_MPI, RANK: "2", WORLD_SIZE: "6" })?.[5], undefined);
  assertEquals(place({ PMIX_RANK: "1", RANK: "5", WORLD_SIZE: "8" })?.[5], undefined);
});

Deno.test("recognizeLaunch() takes a Slurm step of one task for a single process", () => {
  assertEquals(
    recognizeLaunch({ ...SLURM, SLURM_PROCID: "0", SLURM_STEP_NUM_TASKS: "1" }),
    undefined,
  );
});

Deno.test("recognizeLaunch() finds where rank 0 can be met", () => {
  const env = { ...PLAIN, MASTER_ADDR: "n1", MASTER_PORT: "29500" };
  assertEquals(recognizeLaunch(env)?.master, { address: "n1", port: 29500 });
  assertEquals(recognizeLaunch({ ...PLAIN, MASTER_ADDR: "n1" })?.master, undefined);
  assertEquals(recognizeLaunch({ ...env, MASTER_ADDR: "" })?.master, undefined);
});

Deno.test("recognizeLaunch() leaves torchrun's agent its port", () => {
  const env = { ...PLAIN, MASTER_ADDR: "n1", TORCHELASTIC_USE_AGENT_STORE: "True" };
  assertEquals(recognizeLaunch({ ...env, MASTER_PORT: "29500" })?.master?.port, 29501);
  assertEquals(recognizeLaunch({ ...env, MASTER_PORT: "65535" })?.master?.port, 65534);
});

Deno.test("recognizeLaunch() throws if the variables contradict each other", () => {
  const cases: [Environment, string][] = [
    [{ ...PLAIN, RANK: "4" }, "RANK must be a whole number from 0 to 3: current value is '4'"],
    [{ ...PLAIN, RANK: "-1" }, "RANK must be a whole number from 0 to 3: current value is '-1'"],
    [{ ...PLAIN, WORLD_SIZE: "0" }, "WORLD_SIZE must be a whole number from 1 to"],
    [{ ...PLAIN, LOCAL_RANK: "2" }, "LOCAL_RANK must be a whole number from 0 to 1"],
    [{ ...PLAIN, MASTER_ADDR: "a", MASTER_PORT: "x" }, "MASTER_PORT must be a whole number"],
    [{ ...OPEN_MPI, OMPI_COMM_WORLD_RANK: "" }, "OMPI_COMM_WORLD_RANK must be a whole number"],
  ];
  for (const [env, message] of cases) assertThrows(() => recognizeLaunch(env), UsageError, message);
});

Deno.test("tasksOfNode() reads Slurm's short form", () => {
  const text = "2(x3),1,4(x2)";
  assertEquals([0, 1, 2, 3, 4, 5, 6].map((node) => tasksOfNode(text, node)), [
    ...[2, 2, 2, 1, 4, 4],
    undefined,
  ]);
  assertEquals(tasksOfNode(undefined, 0), undefined);
  assertEquals(tasksOfNode("2(x", 0), undefined);
});

Deno.test("describeLaunch() tells launcher, place, exchange and allocation", () => {
  assertEquals(describeLaunch({}), ["started on its own, by no launcher"]);
  assertEquals(describeLaunch(SLURM), [
    "rank 3 of 4, local 1 of 2, by the variables of Slurm",
    "exchange on CPUs: none, as there is no MPI, nor MASTER_ADDR with MASTER_PORT",
    "inside of Slurm job 77 on 2 nodes",
  ]);
  assertEquals(describeLaunch({ ...OPEN_MPI, MASTER_ADDR: "n1", MASTER_PORT: "1" }), [
    "rank 2 of 3, local 0 of 1, by the variables of Open MPI",
    "exchange on CPUs: MPI (openmpi)",
  ]);
  assertEquals(describeLaunch({ ...PLAIN, MASTER_ADDR: "n1", MASTER_PORT: "1" }), [
    "rank 1 of 4, local 1 of 2, by the variables of RANK and WORLD_SIZE",
    "exchange on CPUs: TCP, by way of rank 0 at n1, port 1",
  ]);
  assertEquals(describeLaunch({ ...PLAIN, RANK: "9" }), [
    "Cannot find this process's rank as RANK must be a whole number from 0 to 3: " +
    "current value is '9'",
  ]);
});

const SRUN = {
  nodes: 2,
  tasksPerNode: 3,
  mpi: "pmix",
  command: ["deno", "run", "a b.ts"],
} as const;

Deno.test("srunCommand() starts the ranks so that one that fails ends all", () => {
  assertEquals(srunCommand(SRUN), [
    ...["srun", "--nodes=2", "--ntasks-per-node=3", "--kill-on-bad-exit=1", "--mpi=pmix"],
    ...["deno", "run", "a b.ts"],
  ]);
  assertEquals(srunCommand({ ...SRUN, mpi: undefined }).includes("--mpi=pmix"), false);
});

Deno.test("chooseMpiPlugin() prefers PMIx", () => {
  const header = "MPI plugin types are...\n";
  assertEquals(chooseMpiPlugin(`${header}\tnone\n\tpmi2\n\tpmix\n`), "pmix");
  assertEquals(chooseMpiPlugin(`${header}\tnone\n\tpmi2\n`), "pmi2");
  assertEquals(chooseMpiPlugin(""), undefined);
});

Deno.test("checkAllocation() shows the command outside of an allocation that has the nodes", () => {
  const line =
    "srun --nodes=2 --ntasks-per-node=3 --kill-on-bad-exit=1 --mpi=pmix deno run 'a b.ts'";
  assertThrows(
    () => checkAllocation({}, SRUN),
    UsageError,
    "--num_nodes: must be at most the nodes of the Slurm allocation: current value is 2 in no " +
      `Slurm allocation; start it by: ${line}`,
  );
  assertThrows(
    () => checkAllocation({ SLURM_JOB_ID: "7", SLURM_JOB_NUM_NODES: "1" }, SRUN),
    UsageError,
    "current value is 2 in an allocation of 1 node; start it by",
  );
  checkAllocation({ SLURM_JOB_ID: "7", SLURM_JOB_NUM_NODES: "2" }, SRUN);
});
