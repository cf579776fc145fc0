/**
 * A real Slurm of two nodes with two ranks each: RULER, and what happens when ranks, nodes and jobs
 * are lost. Ignored without root, Slurm, munge or Open MPI.
 *
 * @module
 */
import { assert, assertEquals, assertMatch } from "../helpers/assert.ts";
import { inFolder } from "../helpers/folder.ts";
import { inferArgs, readOutput, runAlone, writeInput } from "../helpers/nodes.ts";
import {
  descendants,
  isRunning,
  waitUntilComputing,
  waitUntilEnded,
} from "../helpers/processes.ts";
import { MODEL } from "../helpers/prompts.ts";
import { hasMpirun } from "../helpers/remote_group.ts";
import { hasSlurm, type JobRank, SlurmCluster } from "../helpers/slurm.ts";

const ROOT = new URL("../../", import.meta.url).pathname;
const PROGRAM = [Deno.execPath(), "run", "-A", "--quiet", "--no-code-cache", `${ROOT}cli.ts`];
const SRUN = ["--nodes=2", "--ntasks-per-node=2", "--kill-on-bad-exit=1", "--mpi=pmix"];
/** Far longer than a busy machine keeps a rank from running. */
const HANG_MS = 8_000;
/** Processes that do not end by themselves are waited for no longer. */
const PATIENCE_MS = 200_000;
/** Ranks that have had a core for so long since the model was loaded are in the midst of a sample. */
const BEGUN_MS = 300;

const ignore = !(await hasSlurm() && await hasMpirun("openmpi"));

/** Arguments of a long or of a short run. */
function ruler(folder: string): string[] {
  return [
    ...["ruler", "-n", "tiny", "-p", MODEL, "-pc", "llama3", "-a", "star", "-bs", "256"],
    ...["-l", "1024", "-t", "niah_single_1", "--num_samples_per_task", "2"],
    ...["--output_dir", folder],
  ];
}

const RESULT = "tiny_star_b256a256/1024/niah_single_1.jsonl";

/** Starts a run that takes long in phase 2, and waits until all of its ranks compute. */
async function startLong(
  cluster: SlurmCluster,
  folder: string,
  options: { timeoutMs: number; samples?: number; tokens?: number },
) {
  const files = { input: `${folder}/in.jsonl`, output: `${folder}/out.jsonl` };
  const { timeoutMs, samples = 2, tokens = 12_000 } = options;
  await writeInput(files.input, { samples });
  const extra = ["--timeout", String(timeoutMs / 1000), "--batch_size", "1"];
  const args = inferArgs(files, { mode: "star", tokens, extra });
  const job = cluster.spawn("srun", [...SRUN, ...PROGRAM, ...args], { limitSeconds: 400 });
  await job.seen("Model:");
  const ranks = cluster.ranks();
  assertEquals(ranks.map(({ rank }) => rank), [0, 1, 2, 3]);
  await waitUntilComputing(pidsOf(ranks), { coreMs: BEGUN_MS });
  return { job, ranks, files };
}

function pidsOf(ranks: readonly JobRank[], node?: number): number[] {
  return ranks.filter((rank) => node === undefined || rank.node === node).map(({ pid }) => pid);
}

function lossLines(text: string): string[] {
  return text.split("\n").filter((line) => line.includes("Lost rank"));
}

Deno.test({
  name: "srun of two nodes gives RULER's results of one process; sbatch and -nn do so, too",
  ignore,
  fn: () =>
    inFolder({}, async (folder) => {
      await using cluster = await SlurmCluster.start();
      const alone = await runAlone([...ruler(`${folder}/alone`), "-np", "1"]);
      assertEquals(alone.code, 0, alone.stderr);
      const expected = await Deno.readTextFile(`${folder}/alone/${RESULT}`);
      const runs = {
        srun: ["srun", ...SRUN, ...PROGRAM, ...ruler(`${folder}/srun`)],
        salloc: ["salloc", "--nodes=2", "--ntasks-per-node=2"]
          .concat(PROGRAM, ruler(`${folder}/salloc`), ["-nn", "2", "-np", "2"]),
        sbatch: ["env", `DENO=${Deno.execPath()}`, "sbatch", "--wait", "--nodes=2"].concat(
          ["--ntasks-per-node=2", `--chdir=${ROOT}`, `--output=${folder}/sbatch.log`],
          ["scripts/slurm/ruler.sbatch", ...ruler(`${folder}/sbatch`).slice(1)],
        ),
      };
      for (const [name, [program = "", ...args]] of Object.entries(runs)) {
        const { code, stderr } = await cluster.run(program, args);
        assertEquals(code, 0, `${name}: ${stderr}\n${await cluster.logs()}`);
        assertEquals(await Deno.readTextFile(`${folder}/${name}/${RESULT}`), expected, name);
      }
      assertMatch(await Deno.readTextFile(`${folder}/sbatch.log`), /4 processes, Open MPI/);
    }),
});

Deno.test({
  name: "a rank that is killed on one of two nodes ends all",
  ignore,
  fn: () =>
    inFolder({}, async (folder) => {
      await using cluster = await SlurmCluster.start();
      const { job, ranks } = await startLong(cluster, folder, { timeoutMs: 60_000 });
      Deno.kill(ranks[3]?.pid ?? 0, "SIGKILL");
      await waitUntilEnded(pidsOf(ranks), { timeoutMs: PATIENCE_MS });
      const { code, stderr } = await job.ended();
      assert(code !== 0, stderr);
      assertEquals(stderr.includes("Interrupted"), false, stderr);
    }),
});

Deno.test({
  name: "a rank that hangs on one of two nodes ends all, in one line with its node",
  ignore,
  fn: () =>
    inFolder({}, async (folder) => {
      await using cluster = await SlurmCluster.start();
      const { job, ranks } = await startLong(cluster, folder, { timeoutMs: HANG_MS });
      Deno.kill(ranks[2]?.pid ?? 0, "SIGSTOP");
      await waitUntilEnded(pidsOf(ranks), { timeoutMs: PATIENCE_MS });
      const { code, stderr } = await job.ended();
      assertEquals(lossLines(stderr).length, 1, stderr);
      assertMatch(
        stderr,
        /rank 2 \(node n2, local 0\): Lost rank 2 in phase [12]: (it made no|nothing was heard)/,
      );
      // srun gives the highest code of all. A rank that was stopped in the midst of MPI may find no way
      // out of it when it goes on; Slurm kills it then, and says so.
      const isStuck = /^srun: error: n2: task 2: Killed$/m.test(stderr);
      assertEquals(code, isStuck ? 137 : 5, stderr);
      const others = stderr.split("\n").filter((line) => /task.*(Killed|Exited)/.test(line))
        .filter((line) => !/ with exit code 5$/.test(line));
      assertEquals(others.length, isStuck ? 1 : 0, stderr);
    }),
});

Deno.test({
  name: "a node that is cut off ends the run on both sides",
  ignore,
  fn: () =>
    inFolder({}, async (folder) => {
      await using cluster = await SlurmCluster.start();
      const { job, ranks } = await startLong(cluster, folder, { timeoutMs: 60_000 });
      await cluster.link(2, "down");
      // srun passes on what ranks write, and may do so after they have ended.
      await job.seen("Lost rank");
      await waitUntilEnded(pidsOf(ranks, 0), { timeoutMs: PATIENCE_MS });
      assertMatch(
        lossLines(job.errors)[0] ?? "",
        /rank [23] \(node n2, local [01]\): Lost rank [23] in phase [12]: nothing was heard of it/,
      );
      // The other side ends by its own time-out.
      await waitUntilEnded(pidsOf(ranks, 1), { timeoutMs: PATIENCE_MS });
      await cluster.link(2, "up");
    }),
});

Deno.test({
  name: "a run by -nn that is interrupted lets its ranks end by themselves",
  ignore,
  fn: () =>
    inFolder({}, async (folder) => {
      await using cluster = await SlurmCluster.start();
      const many = ruler(folder).map((word) => word === "2" ? "400" : word);
      const nodes = ["-nn", "2", "-np", "2"];
      const job = cluster.spawn(
        "salloc",
        ["--nodes=2", "--ntasks-per-node=2", ...PROGRAM, ...many, ...nodes],
        { limitSeconds: 400 },
      );
      await job.seen("Model:");
      const ranks = cluster.ranks();
      assertEquals(ranks.length, 4);
      const [parent] = descendants(job.pid)
        .filter(({ command }) => command.startsWith(Deno.execPath()));
      Deno.kill(parent?.pid ?? 0, "SIGTERM");
      await waitUntilEnded(pidsOf(ranks), { timeoutMs: PATIENCE_MS });
      const { code, stderr } = await job.ended();
      assertEquals(code, 130, stderr);
      assertMatch(stderr, /Interrupted/);
      // srun says so of ranks that it has killed itself.
      assertEquals(/Killed|Force Terminated/.test(stderr), false, stderr);
    }),
});

Deno.test({
  name: "a job that is cancelled ends quietly, and goes on after its finished samples",
  ignore,
  fn: () =>
    inFolder({}, async (folder) => {
      await using cluster = await SlurmCluster.start();
      const [samples, tokens] = [8, 150];
      const { job, ranks, files } = await startLong(cluster, folder, {
        timeoutMs: 60_000,
        samples,
        tokens,
      });
      while (await Deno.readTextFile(files.output) === "") {
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      await cluster.run("scancel", ["--user=root"]);
      await waitUntilEnded(pidsOf(ranks), { timeoutMs: PATIENCE_MS });
      const { stderr } = await job.ended();
      assertEquals(lossLines(stderr), []);
      assertEquals(stderr.includes("Interrupted"), false, stderr);
      const finished = await readOutput(files.output);
      assert(finished.length > 0 && finished.length < samples, `${finished.length}`);
      const again = inferArgs(files, { mode: "star", tokens });
      const { code, stderr: text } = await cluster.run("srun", [...SRUN, ...PROGRAM, ...again]);
      assertEquals(code, 0, text);
      assert(text.includes(`${finished.length} samples are finished, continuing`), text);
      const records = await readOutput(files.output);
      assertEquals(records.length, samples);
      assertEquals(records.slice(0, finished.length), finished);
      assertEquals(pidsOf(ranks).filter(isRunning), []);
    }),
});
