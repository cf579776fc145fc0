/**
 * `infer` and `ruler` that are killed, stopped or interrupted with a batch in flight: what was finished
 * is there, in the order of the file, and the same command goes on to the bytes of a run that nobody
 * disturbed.
 *
 * @module
 */
import { assert, assertEquals, assertStringIncludes } from "../helpers/assert.ts";
import { inFolder } from "../helpers/folder.ts";
import { writeInput } from "../helpers/nodes.ts";
import { childrenOf, waitUntilEnded } from "../helpers/processes.ts";
import { MODEL } from "../helpers/prompts.ts";

const CLI = new URL("../../cli.ts", import.meta.url).pathname;
/** Far longer than a busy machine keeps a rank from running. */
const HANG_S = 8;
/** Processes that do not end by themselves are waited for no longer. */
const PATIENCE_MS = 120_000;
/** More than two replicas have places for, so that there is work left when one has done its own. */
const SAMPLES = 10;
const BATCH = ["-b", "3", "--threads", "1", "--device", "cpu", "--timeout", String(HANG_S)];

/** A command, and the files that it writes; the first one tells how far it is. */
interface Program {
  readonly args: (folder: string) => readonly string[];
  readonly outputs: readonly string[];
}

const PROGRAMS: Readonly<Record<string, Program>> = {
  infer: {
    args: (folder) => [
      ...["infer", "-p", MODEL, "-a", "star", "-bs", "256", "--tokens_to_generate", "120"],
      ...["--ignore_eos", "--top_logits", "3", "--input_path", `${folder}/in.jsonl`],
      ...["--output_path", `${folder}/out.jsonl`],
    ],
    outputs: ["out.jsonl"],
  },
  ruler: {
    args: (folder) => [
      ...["ruler", "-n", "tiny", "-p", MODEL, "-pc", "base", "-a", "star", "-bs", "256"],
      ...["-l", "1024", "-t", "niah_single_1", "vt", "--num_samples_per_task", String(SAMPLES)],
      ...["--no_report", "--output_dir", folder],
    ],
    outputs: ["niah_single_1", "vt"].map((task) => `tiny_star_b256a256/1024/${task}.jsonl`),
  },
};

/** How a run is disturbed, and how the program ends then. */
interface Disturbance {
  readonly signal: Deno.Signal;
  readonly to: "worker" | "program";
  readonly code: number;
  readonly says?: string;
}

const KILLED_WORKER = { signal: "SIGKILL", to: "worker", code: 5, says: "Lost rank" } as const;
const STOPPED_WORKER: Disturbance = {
  ...{ signal: "SIGSTOP", to: "worker", code: 5 } as const,
  says: `it made no progress for ${1000 * HANG_S} ms`,
};
const KILLED = { signal: "SIGKILL", to: "program", code: 137 } as const;
const INTERRUPTED = { signal: "SIGINT", to: "program", code: 130 } as const;

const CASES: readonly (readonly [string, readonly string[], readonly Disturbance[]])[] = [
  ["1 process", ["-np", "1"], [KILLED, INTERRUPTED]],
  ["2 processes", ["-np", "2"], [KILLED_WORKER, STOPPED_WORKER, KILLED, INTERRUPTED]],
  ["2 replicas", ["-np", "1", "--replicas", "2"], [
    KILLED_WORKER,
    STOPPED_WORKER,
    KILLED,
    INTERRUPTED,
  ]],
];

/** A run of the program that is under way. */
class Run {
  readonly process: Deno.ChildProcess;
  readonly #text: Promise<string>;

  constructor(args: readonly string[]) {
    this.process = new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--quiet", "--no-code-cache", CLI, ...args, ...BATCH],
      stdin: "null",
      stdout: "null",
      stderr: "piped",
    }).spawn();
    this.#text = new Response(this.process.stderr).text();
  }

  async ended(): Promise<{ code: number; stderr: string }> {
    const { code } = await this.process.status;
    return { code, stderr: await this.#text };
  }
}

/** The whole lines of a file; none if it is not there. */
async function wholeLines(path: string): Promise<string[]> {
  const text = await Deno.readTextFile(path).catch(() => "");
  return text.split("\n").slice(0, -1);
}

async function readAll(folder: string, program: Program): Promise<string[]> {
  return await Promise.all(program.outputs.map((path) => Deno.readTextFile(`${folder}/${path}`)));
}

/** Disturbs a run when its first sample is finished and others are under way. */
async function disturb(
  run: Run,
  options: { path: string; disturbance: Disturbance },
): Promise<{ code: number; stderr: string }> {
  const { path, disturbance: { signal, to } } = options;
  const { pid } = run.process;
  const endMs = performance.now() + PATIENCE_MS;
  while ((await wholeLines(path)).length === 0) {
    assert(performance.now() < endMs, "a sample is finished in time");
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  const workers = childrenOf(pid).filter(({ command }) => command.includes("--rank="))
    .map((worker) => worker.pid);
  const victim = to === "program" ? pid : workers.at(-1);
  assert(victim !== undefined, "there is a worker");
  Deno.kill(victim, signal);
  const end = await run.ended();
  await waitUntilEnded(workers, { timeoutMs: PATIENCE_MS });
  return end;
}

/** What each command writes if nobody disturbs it, by the number of ranks, which decides the sums. */
const undisturbed = new Map<string, Promise<string[]>>();

async function resultsOf(name: string, program: Program, ranks: string): Promise<string[]> {
  let results: string[] = [];
  await inFolder({}, async (folder) => {
    await writeInput(`${folder}/in.jsonl`, { samples: SAMPLES });
    const { code, stderr } = await new Run([...program.args(folder), "-np", ranks]).ended();
    assertEquals(code, 0, `${name}: ${stderr}`);
    results = await readAll(folder, program);
  });
  return results;
}

for (const [name, program] of Object.entries(PROGRAMS)) {
  for (const [where, flags, disturbances] of CASES) {
    for (const disturbance of disturbances) {
      const { signal, to, code, says = "" } = disturbance;
      const whom = to === "program" ? "" : " of a worker";
      Deno.test(`${name} on ${where} keeps what was finished at ${signal}${whom}, and goes on`, () =>
        inFolder({}, async (folder) => {
          const ranks = flags[1] ?? "";
          const key = `${name} ${ranks}`;
          const before = undisturbed.get(key) ?? resultsOf(name, program, ranks);
          undisturbed.set(key, before);
          const expected = await before;
          await writeInput(`${folder}/in.jsonl`, { samples: SAMPLES });
          const args = [...program.args(folder), ...flags];
          const [output = ""] = program.outputs;
          const path = `${folder}/${output}`;
          const end = await disturb(new Run(args), { path, disturbance });
          assertEquals(end.code, code, end.stderr);
          assertStringIncludes(end.stderr, says);
          const kept = await wholeLines(path);
          assert(kept.length >= 1 && kept.length < SAMPLES, `${kept.length} were finished`);
          assertEquals(kept, expected[0]?.split("\n").slice(0, kept.length));
          const later = await new Run(args).ended();
          assertEquals(later.code, 0, later.stderr);
          assertEquals(await readAll(folder, program), expected);
        }));
    }
  }
}
