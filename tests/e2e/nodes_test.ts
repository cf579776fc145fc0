/**
 * The program on ranks that MPI's launchers start, and by `-nn` through a stand-in for srun; ignored
 * where no launcher is installed.
 *
 * @module
 */
import type { MpiFlavour } from "../../lib/ffi/mpi.ts";
import { assert, assertEquals, assertLess, assertMatch } from "../helpers/assert.ts";
import { inFolder } from "../helpers/folder.ts";
import {
  inferArgs,
  readOutput,
  runAlone,
  RunningRanks,
  runRanks,
  writeInput,
} from "../helpers/nodes.ts";
import { waitUntilComputing } from "../helpers/processes.ts";
import { MODEL } from "../helpers/prompts.ts";
import { hasMpirun } from "../helpers/remote_group.ts";

/** Far longer than a busy machine keeps a rank from running. */
const HANG_MS = 8_000;
/** Ranks that have had a core for so long since the model was loaded are in the midst of a sample. */
const BEGUN_MS = 200;
const LOGIT_TOLERANCE = 1e-4;

const installed: Record<MpiFlavour, boolean> = {
  openmpi: await hasMpirun("openmpi"),
  mpich: await hasMpirun("mpich"),
};

for (const [flavour, sizes] of [["openmpi", [2, 3]], ["mpich", [2]]] as const) {
  for (const mode of flavour === "openmpi" ? ["star", "starx", "ring", "dense"] : ["star"]) {
    Deno.test({
      name: `infer gives the same ids on ranks of ${flavour} as alone in ${mode}`,
      ignore: !installed[flavour],
      fn: () =>
        inFolder({}, async (folder) => {
          const input = `${folder}/in.jsonl`;
          await writeInput(input, { samples: 2 });
          const alone = `${folder}/alone/out.jsonl`;
          const first = await runAlone(inferArgs({ input, output: alone }, { mode }));
          assertEquals(first.code, 0, first.stderr);
          const expected = await readOutput(alone);
          for (const size of sizes) {
            const output = `${folder}/${size}/out.jsonl`;
            const args = inferArgs({ input, output }, { mode });
            const ended = await runRanks(args, { flavour, size });
            assertEquals(ended.code, 0, ended.stderr);
            const found = await readOutput(output);
            assertEquals(found.map((r) => r.generated_ids), expected.map((r) => r.generated_ids));
            for (const [i, { top_logits: logits }] of found.entries()) {
              const values = new Map(expected[i]?.top_logits);
              for (const [id, logit] of logits.slice(0, 20)) {
                assertLess(Math.abs((values.get(id) ?? NaN) - logit), LOGIT_TOLERANCE);
              }
            }
          }
        }),
    });
  }
}

const LOSSES = [
  { phase: "phase 1", signal: "SIGKILL", rank: 1 },
  { phase: "phase 1", signal: "SIGSTOP", rank: 1 },
  { phase: "phase 2", signal: "SIGKILL", rank: 0 },
  { phase: "phase 2", signal: "SIGSTOP", rank: 0 },
  { phase: "phase 2", signal: "SIGSTOP", rank: 2 },
] as const;

for (const { phase, signal, rank } of LOSSES) {
  const what = signal === "SIGKILL" ? "killed" : "stopped";
  Deno.test({
    name: `infer ends on all ranks if rank ${rank} is ${what} in ${phase}, and goes on later`,
    ignore: !installed.openmpi,
    fn: () =>
      inFolder({}, async (folder) => {
        const input = `${folder}/in.jsonl`;
        const output = `${folder}/out.jsonl`;
        const isFirst = phase === "phase 1";
        await writeInput(input, { samples: 2, repeat: isFirst ? 16 : 1 });
        const options = { mode: "star", tokens: isFirst ? 2 : 1500 };
        const timeout = ["--timeout", String(HANG_MS / 1000)];
        const args = inferArgs({ input, output }, { ...options, extra: timeout });
        const ranks = new RunningRanks(args, { size: 3, marker: "Model:" });
        await ranks.seen();
        const pids = ranks.pids();
        assertEquals(pids.length, 3);
        await waitUntilComputing(pids, { coreMs: BEGUN_MS });
        Deno.kill(pids[rank] ?? 0, signal);
        const { code, stderr, left } = await ranks.ended(pids);
        assertEquals(left, []);
        assert(code !== 0, "a run that lost a rank must fail");
        const lines = stderr.split("\n").filter((line) => line.includes("Lost rank"));
        if (signal === "SIGSTOP") {
          assertEquals(lines.length, 1, stderr);
          assertMatch(
            lines[0] ?? "",
            new RegExp(
              `^rank ${rank} \\(node \\S+, local ${rank}\\): Lost rank ${rank} in \\S+( \\d)?: ` +
                `(it made no progress for ${HANG_MS}|nothing was heard of it for 7000) ms`,
            ),
          );
          assertEquals(code, 5);
        }
        assertEquals(stderr.includes("Interrupted"), false, stderr);
        const again = inferArgs({ input, output }, { ...options, extra: ["--num_samples", "1"] });
        if (!isFirst) return;
        const ended = await runRanks(again, { flavour: "openmpi", size: 2 });
        assertEquals(ended.code, 0, ended.stderr);
        assertEquals((await readOutput(output)).length, 1);
      }),
  });
}

/** Runs two ranks by a shell script that tells them apart. */
async function runScript(
  folder: string,
  script: string,
): Promise<{ code: number; lines: string[]; text: string }> {
  const path = `${folder}/run.sh`;
  await Deno.writeTextFile(path, script);
  const { code, stderr } = await new Deno.Command("mpirun.openmpi", {
    args: ["--oversubscribe", "-np", "2", "sh", path],
    env: { OMPI_ALLOW_RUN_AS_ROOT: "1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM: "1" },
  }).output();
  const text = new TextDecoder().decode(stderr);
  const lines = text.split("\n").filter((line) => line.includes("Cannot run together"));
  return { code, lines, text };
}

/** The program's command line for a shell. */
function shellWords(args: readonly string[]): string {
  const cli = new URL("../../cli.ts", import.meta.url).pathname;
  return [Deno.execPath(), "run", "-A", "--quiet", cli, ...args].map((word) => `'${word}'`)
    .join(" ");
}

Deno.test({
  name: "infer refuses ranks with different command lines, in one line",
  ignore: !installed.openmpi,
  fn: () =>
    inFolder({}, async (folder) => {
      const files = { input: `${folder}/in.jsonl`, output: `${folder}/out.jsonl` };
      await writeInput(files.input, { samples: 1 });
      const args = inferArgs(files, { mode: "star" });
      const other = args.map((word) => word === "256" ? "512" : word);
      const { code, lines, text } = await runScript(
        folder,
        `if [ $OMPI_COMM_WORLD_RANK = 1 ]; then exec ${shellWords(other)}; fi\n` +
          `exec ${shellWords(args)}\n`,
      );
      assertEquals(code, 2, text);
      assertEquals(lines.length, 1, text);
      assertMatch(lines[0] ?? "", /all ranks must have the same command line: rank 0 \(node /);
    }),
});

Deno.test({
  name: "infer refuses ranks with different models, in one line",
  ignore: !installed.openmpi,
  fn: () =>
    inFolder({}, async (folder) => {
      const files = { input: `${folder}/in.jsonl`, output: `${folder}/out.jsonl` };
      await writeInput(files.input, { samples: 1 });
      for (const rank of [0, 1]) {
        await Deno.mkdir(`${folder}/${rank}/model`, { recursive: true });
        for (const { name, isFile } of Deno.readDirSync(MODEL)) {
          if (!isFile) continue;
          await Deno.copyFile(`${MODEL}/${name}`, `${folder}/${rank}/model/${name}`);
        }
      }
      await Deno.writeTextFile(`${folder}/1/model/tokenizer.json`, " ", { append: true });
      const args = inferArgs(files, { mode: "star" })
        .map((word) => word === MODEL ? "model" : word);
      const { code, lines, text } = await runScript(
        folder,
        `cd '${folder}/'$OMPI_COMM_WORLD_RANK && exec ${shellWords(args)}\n`,
      );
      assertEquals(code, 5, text);
      assertEquals(lines.length, 1, text);
      assertMatch(
        lines[0] ?? "",
        /all ranks must have the same model in model: rank 1 \(.*\) has another one than rank 0/,
      );
    }),
});

/** With the first one's patience, only who looks at the processes can tell in time. */
const ABSENT = [
  {
    name: "ends before the others have come",
    how: "exit 0",
    timeout: "600",
    text: /came: rank 1 \(node \S+\) (ended|did not start)/,
  },
  {
    name: "never comes",
    how: "exec sleep 300",
    timeout: "5",
    text: /came within 5000 ms: rank 1 \(node \S+\) did not come/,
  },
] as const;

for (const { name, how, timeout, text } of ABSENT) {
  Deno.test({
    name: `infer names a rank that ${name}`,
    ignore: !installed.openmpi,
    fn: () =>
      inFolder({}, async (folder) => {
        const files = { input: `${folder}/in.jsonl`, output: `${folder}/out.jsonl` };
        await writeInput(files.input, { samples: 1 });
        const args = inferArgs(files, { mode: "star", extra: ["--start_timeout", timeout] });
        const ended = await runScript(
          folder,
          `if [ $OMPI_COMM_WORLD_RANK = 1 ]; then ${how}; fi\nexec ${shellWords(args)}\n`,
        );
        assertEquals(ended.code, 5, ended.text);
        assertMatch(ended.text, /error: Cannot start: not all ranks came/);
        assertMatch(ended.text, text);
      }),
  });
}

const RULER = [
  ...["ruler", "-n", "tiny", "-p", MODEL, "-pc", "llama3", "-a", "star", "-bs", "256"],
  ...["-l", "1024", "-t", "niah_single_1", "--num_samples_per_task", "2"],
];

/** Lists plugins, notes how it is called, and has `mpirun` start the ranks. */
const SRUN = `#!/bin/sh
if [ "$1" = "--mpi=list" ]; then printf 'MPI plugin types are...\\n\\tnone\\n\\tpmix\\n'; exit; fi
echo "$@" > "$(dirname "$0")/calls"
while :; do
  case $1 in
  --nodes=*) nodes=\${1#*=};;
  --ntasks-per-node=*) tasks=\${1#*=};;
  --*) ;;
  *) break;;
  esac
  shift
done
[ -n "$SRUN_CODE" ] && exit "$SRUN_CODE"
unset SLURM_JOB_ID SLURM_JOB_NUM_NODES
exec mpirun.openmpi --oversubscribe --bind-to none -np $((nodes * tasks)) "$@"
`;

async function withSrun(
  run: (folder: string, env: Record<string, string>) => Promise<void>,
): Promise<void> {
  await inFolder({}, async (folder) => {
    await Deno.writeTextFile(`${folder}/srun`, SRUN, { mode: 0o755 });
    await run(folder, {
      PATH: `${folder}:${Deno.env.get("PATH")}`,
      SLURM_JOB_ID: "12",
      SLURM_JOB_NUM_NODES: "2",
      OMPI_ALLOW_RUN_AS_ROOT: "1",
      OMPI_ALLOW_RUN_AS_ROOT_CONFIRM: "1",
    });
  });
}

Deno.test({
  name: "ruler -nn 2 -np 2 runs on the ranks that srun starts inside of an allocation",
  ignore: !installed.openmpi,
  fn: () =>
    withSrun(async (folder, env) => {
      const output = ["--output_dir", `${folder}/results`, "-nn", "2", "-np", "2"];
      const { code, stdout, stderr } = await runAlone([...RULER, ...output], env);
      assertEquals(code, 0, stderr);
      assertMatch(stderr, /4 processes, Open MPI/);
      assertEquals(stderr.includes("is done"), false, stderr);
      assertMatch(stdout, /niah_single_1/);
      const calls = await Deno.readTextFile(`${folder}/calls`);
      assertMatch(
        calls,
        /^--nodes=2 --ntasks-per-node=2 --kill-on-bad-exit=1 --mpi=pmix --job-name=\S+ \S+ run .* ruler /,
      );
      const records = await readOutput(
        `${folder}/results/tiny_star_b256a256/1024/niah_single_1.jsonl`,
      );
      assertEquals(records.length, 2);
    }),
});

Deno.test("ruler -nn 2 ends with the ranks' exit code, or that of a lost worker", async () => {
  await withSrun(async (folder, env) => {
    const args = [...RULER, "--output_dir", folder, "-nn", "2", "-np", "2"];
    for (const [given, expected] of [["3", 3], ["137", 5]] as const) {
      const { code } = await runAlone(args, { ...env, SRUN_CODE: given });
      assertEquals(code, expected);
    }
    // A launcher's 0 is no proof: rank 0 never said that it is done.
    const { code, stderr } = await runAlone(args, { ...env, SRUN_CODE: "0" });
    assertEquals(code, 5);
    assertMatch(
      stderr,
      /error: Lost the ranks: srun ended without an error, and rank 0 is not done/,
    );
  });
});

Deno.test("ruler -nn 2 shows the srun command outside of an allocation", async () => {
  const { code, stderr } = await runAlone([...RULER, "-nn", "2", "-np", "4"]);
  assertEquals(code, 2);
  assertMatch(
    stderr,
    /^error: --num_nodes: must be at most .* start it by: srun --nodes=2 --ntasks-per-node=4 /,
  );
});

Deno.test("doctor shows what a launcher has said", async () => {
  const env = { RANK: "1", WORLD_SIZE: "4", MASTER_ADDR: "n1", MASTER_PORT: "29500" };
  const { stdout } = await runAlone(["doctor"], env);
  assertMatch(stdout, /Launcher +rank 1 of 4, by the variables of RANK and WORLD_SIZE/);
  assertMatch(stdout, /exchange on CPUs: TCP, by way of rank 0 at n1, port 29500/);
});
