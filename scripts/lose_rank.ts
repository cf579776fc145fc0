/**
 * Kills a rank in the midst of a `ruler` run on several processes and shows what follows: the line
 * that is printed, the exit code, how long it takes until nothing is left, and that the same command
 * goes on behind the finished samples. With --shape it is a run of `bench`, which has no samples and
 * needs neither model nor tokenizer.
 *
 * It reads what ranks say of themselves (`lib/parallel/state.ts`) out of the parent's memory, so as
 * to kill in the phase that is asked for. A line of JSON tells the outcome; the exit code is 0 if all
 * was as promised.
 *
 * @module
 */
import { parseArgs } from "node:util";
import { fileURLToPath } from "node:url";
import { GroupState, type Phase } from "../lib/parallel/state.ts";
import { errorText, EXIT_CODES } from "../lib/errors.ts";

const HELP = `Kills a rank of a run and shows what follows.

Usage: deno run -A scripts/lose_rank.ts --output FOLDER [flags]

  --device NAME   auto, cpu or cuda (default auto)
  --phase N       1 or 2: when (default 1)
  --rank N        which (default 1)
  --ranks N       of how many (default 2)
  --shape NAME    loses a rank of a bench of this shape
  --tokens N      of its context, in blocks of an eighth (default 65536; 16000 of RULER's)
  --patience N    seconds in which the moment to kill in must come (default 60)
`;

const CLI = fileURLToPath(new URL("../cli.ts", import.meta.url));
const MODEL = fileURLToPath(new URL("../models/starx-tiny", import.meta.url));
/** Tasks that need no lists of words. */
const TASKS = ["vt", "fwe"];
const SAMPLES = 6;
/** All processes are gone within this time. */
const PROMISED_MS = 10_000;
/** Looks at a rank without a pause. */
const LOOKS = 2_000;

/** What is asked for. */
interface Loss {
  readonly device: string;
  readonly phase: Phase;
  readonly rank: number;
  readonly ranks: number;
  readonly output: string;
  /** Of a bench; undefined for RULER. */
  readonly shape: string | undefined;
  readonly tokens: number;
  /** The longest wait for the moment to kill in. */
  readonly patienceMs: number;
}

if (import.meta.main) Deno.exit(await main());

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      device: { type: "string", default: "auto" },
      phase: { type: "string", default: "1" },
      rank: { type: "string", default: "1" },
      ranks: { type: "string", default: "2" },
      output: { type: "string" },
      shape: { type: "string" },
      tokens: { type: "string" },
      patience: { type: "string", default: "60" },
      help: { type: "boolean", short: "h" },
    },
  });
  if (values.help === true || values.output === undefined) {
    write(HELP);
    return values.help === true ? EXIT_CODES.done : EXIT_CODES.usage;
  }
  const { device, output, shape } = values;
  const phase = values.phase === "2" ? "phase 2" : "phase 1";
  const tokens = Number(values.tokens ?? (shape === undefined ? 16_000 : 65_536));
  const [rank = 0, ranks = 0, patience = 0] = [values.rank, values.ranks, values.patience]
    .map(Number);
  const loss = { device, phase, rank, ranks, output, shape, tokens } as const;
  try {
    return await loseRank({ ...loss, patienceMs: 1000 * patience }) ? 0 : EXIT_CODES.bug;
  } catch (error) {
    write(`lose_rank: ${errorText(error)}\n`);
    return EXIT_CODES.bug;
  }
}

/** @returns Whether all was as promised. */
async function loseRank(loss: Loss): Promise<boolean> {
  const { device, phase, rank, output, shape } = loss;
  const { process, stderr } = start(loss);
  const family = await killInPhase(process.pid, loss);
  const killedMs = performance.now();
  const seconds = () => round((performance.now() - killedMs) / 1000);
  const finished = countSamples(output);
  const { code } = await process.status;
  const exitSeconds = seconds();
  const isLate = () => performance.now() - killedMs > PROMISED_MS;
  while (family.some(isRunning) && !isLate()) await pause(5);
  const goneSeconds = seconds();
  let gpuProcesses = await countGpuProcesses(device);
  while (gpuProcesses > 0 && !isLate()) gpuProcesses = await countGpuProcesses(device);
  const left = family.filter(isRunning).length;
  const kept = countSamples(output);
  const outcome = {
    ...{ phase, rank, device, run: shape ?? "ruler", exit_code: code, exit_s: exitSeconds },
    ...{ gone_s: goneSeconds, processes_left: left },
    ...{ gpu_free_s: device === "cpu" ? null : seconds(), gpu_processes_left: gpuProcesses },
    line: (await stderr).trim().split("\n").at(-1) ?? "",
  };
  const hasEnded = code === EXIT_CODES.workerLost && left === 0 && gpuProcesses === 0;
  const later = shape === undefined ? await goOn(loss, kept) : { goes_on: true };
  const isAsPromised = hasEnded && kept >= finished && later.goes_on;
  write(`${JSON.stringify({ ...outcome, ...later, as_promised: isAsPromised })}\n`);
  return isAsPromised;
}

/** Runs the same command again. */
async function goOn(loss: Loss, kept: number): Promise<{ goes_on: boolean }> {
  const { process, stderr } = start(loss);
  const { code } = await process.status;
  await stderr;
  const after = countSamples(loss.output);
  const isDone = code === EXIT_CODES.done && after === TASKS.length * SAMPLES;
  return { ...{ samples_kept: kept, samples_after: after }, goes_on: isDone };
}

function start(loss: Loss): { process: Deno.ChildProcess; stderr: Promise<string> } {
  const { device, ranks, output, shape, tokens } = loss;
  const length = String(tokens);
  // Whole tiles.
  const tiles = String(128 * Math.ceil(tokens / 1024));
  const ruler = [
    ...["ruler", "-n", "lost", "-p", MODEL, "-pc", "llama3", "-bs", tiles, "-l", length],
    ...["--num_samples_per_task", String(SAMPLES), "-t", ...TASKS, "--output_dir", output],
  ];
  const block = String(Math.ceil(tokens / 8));
  const bench = ["bench", "--shape", shape ?? "", "-l", length, "-bs", block];
  const times = ["--repeats", "100", "--decode", length, "--decode_tokens", "1000"];
  const command = shape === undefined ? ruler : [...bench, ...times];
  const flags = ["-a", "star", "-np", String(ranks), "--device", device];
  const args = ["run", "--no-prompt", "-A", CLI, ...command, ...flags];
  const process = new Deno.Command(Deno.execPath(), { args, stdout: "null", stderr: "piped" })
    .spawn();
  const tee = async () => {
    let text = "";
    for await (const part of process.stderr.pipeThrough(new TextDecoderStream())) {
      write(part);
      text += part;
    }
    return text;
  };
  return { process, stderr: tee() };
}

/**
 * Waits until a sample is finished, or the ranks are there, and the rank is in the phase.
 *
 * @returns All of the processes.
 */
async function killInPhase(parent: number, loss: Loss): Promise<number[]> {
  const { phase, rank, ranks, output, shape, patienceMs } = loss;
  const endMs = performance.now() + patienceMs;
  // A child has its command line a moment after it was started.
  const findVictim = () =>
    childrenOf(parent).find((pid) => commandOf(pid).includes(`--rank=${rank}`));
  const isReady = () =>
    (shape !== undefined || countSamples(output) > 0) && findVictim() !== undefined &&
    childrenOf(parent).length >= ranks;
  while (!isReady()) {
    if (performance.now() > endMs) throw new Error("Cannot kill a rank as the run does not begin");
    await pause(1);
  }
  const state = openState(parent, ranks);
  const children = childrenOf(parent);
  const victim = findVictim();
  if (victim === undefined) throw new Error(`Cannot find rank ${rank} of process ${parent}`);
  while (performance.now() < endMs) {
    // Phases of a small model are short: the look must not be late.
    for (let look = 0; look < LOOKS; look++) {
      if (state().snapshot(rank).phase !== phase) continue;
      Deno.kill(victim, "SIGKILL");
      return [parent, ...children];
    }
    await pause(1);
  }
  throw new Error(`Cannot kill rank ${rank} as it was never in ${phase}`);
}

/** What the ranks say of themselves, as it lies in the parent's memory. */
function openState(parent: number, size: number): () => GroupState {
  const maps = Deno.readTextFileSync(`/proc/${parent}/maps`).split("\n");
  const [address = ""] = maps.find((line) => line.includes("memfd:starx"))?.split("-") ?? [];
  if (address === "") throw new Error(`Cannot find the ranks' memory in process ${parent}`);
  const memory = Deno.openSync(`/proc/${parent}/mem`);
  const bytes = new Uint8Array(GroupState.byteLength(size));
  return () => {
    memory.seekSync(parseInt(address, 16), Deno.SeekMode.Start);
    memory.readSync(bytes);
    return new GroupState(bytes, { size });
  };
}

function childrenOf(parent: number): number[] {
  const tasks = [...Deno.readDirSync(`/proc/${parent}/task`)];
  const lists = tasks.map(({ name }) => read(`/proc/${parent}/task/${name}/children`));
  return lists.join(" ").split(/\s+/).filter((pid) => pid !== "").map(Number);
}

function commandOf(pid: number): string {
  return read(`/proc/${pid}/cmdline`).replaceAll("\0", " ");
}

/** Whether a process runs; one that has ended and whose status nobody read does not. */
function isRunning(pid: number): boolean {
  const stat = read(`/proc/${pid}/stat`);
  return stat !== "" && !/\) [ZX] /.test(stat);
}

/** Lines of results below a folder. */
function countSamples(folder: string): number {
  let count = 0;
  try {
    for (const { name, isDirectory } of Deno.readDirSync(folder)) {
      if (isDirectory && name !== "data" && name !== "logs") {
        count += countSamples(`${folder}/${name}`);
      }
      if (TASKS.some((task) => name === `${task}.jsonl`)) {
        count += read(`${folder}/${name}`).split("\n").length - 1;
      }
    }
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  return count;
}

/** Processes that use a GPU of this machine. */
async function countGpuProcesses(device: string): Promise<number> {
  if (device === "cpu") return 0;
  const args = ["--query-compute-apps=pid", "--format=csv,noheader"];
  const { stdout } = await new Deno.Command("nvidia-smi", { args }).output();
  return new TextDecoder().decode(stdout).split("\n").filter((line) => line !== "").length;
}

/** A file's text; empty if it is gone. */
function read(path: string): string {
  try {
    return Deno.readTextFileSync(path);
  } catch {
    return "";
  }
}

function pause(durationMs: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, durationMs));
}

function round(seconds: number): number {
  return Number(seconds.toFixed(3));
}

function write(text: string): void {
  Deno.stdout.writeSync(new TextEncoder().encode(text));
}
