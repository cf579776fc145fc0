/**
 * The program under `mpirun`: processes of this machine stand for those of several.
 *
 * @module
 */
import type { MpiFlavour } from "../../lib/ffi/mpi.ts";
import { goldenEntries } from "./golden.ts";
import { childrenOf, environmentOf, isRunning } from "./processes.ts";
import { MODEL } from "./prompts.ts";
import { mpirunCommand } from "./remote_group.ts";

/** How long a killed process may take to be gone, on a busy machine. */
const LEFT_MS = 60_000;
const CLI = new URL("../../cli.ts", import.meta.url).pathname;
const RUN = ["run", "-A", "--quiet", "--no-code-cache", CLI];

/** What a program wrote, and how it ended. */
export interface Ended {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** A record of `infer`. */
export interface InferRecord {
  readonly generated_ids: number[];
  readonly top_logits: [number, number][];
}

/** Arguments of `infer` on the model of the repository. */
export function inferArgs(
  files: { input: string; output: string },
  options: { mode: string; tokens?: number; extra?: readonly string[] },
): string[] {
  const { mode, tokens = 12, extra = [] } = options;
  const blocks = mode.startsWith("star") ? ["-bs", "256"] : [];
  return [
    ...["infer", "-p", MODEL, "-a", mode, ...blocks, "--dtype", "f32", "--top_logits", "24"],
    ...["--tokens_to_generate", String(tokens), "--input_path", files.input],
    // A long answer is one that is to be interrupted.
    ...(tokens > 100 ? ["--ignore_eos"] : []),
    ...["--output_path", files.output, ...extra],
  ];
}

/**
 * Writes samples that `infer` takes, the reference prompts in turn; `repeat` takes each context
 * several times in a row.
 */
export async function writeInput(
  path: string,
  options: { samples: number; repeat?: number },
): Promise<void> {
  const entries = await goldenEntries();
  const lines = Array.from({ length: options.samples }, (_, index) => {
    const { context = "", query = "" } = entries[index % entries.length] ?? {};
    return JSON.stringify({
      index,
      input_context: context.repeat(options.repeat ?? 1),
      input_query: query,
      outputs: [],
    });
  });
  await Deno.writeTextFile(path, `${lines.join("\n")}\n`);
}

/** What `infer` wrote. */
export async function readOutput(path: string): Promise<InferRecord[]> {
  const text = await Deno.readTextFile(path);
  return text.split("\n").filter((line) => line !== "").map((line) => JSON.parse(line));
}

/** Runs the program on its own. */
export async function runAlone(
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<Ended> {
  const command = new Deno.Command(Deno.execPath(), { args: [...RUN, ...args], env });
  return decode(await command.output());
}

/** Runs the program on ranks. */
export async function runRanks(
  args: readonly string[],
  options: { flavour: MpiFlavour; size: number },
): Promise<Ended> {
  return decode(
    await mpirunCommand(options.flavour, { ...options, args: [...RUN, ...args] }).output(),
  );
}

function decode(output: Deno.CommandOutput): Ended {
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  return { code: output.code, stdout: text(output.stdout), stderr: text(output.stderr) };
}

/** Ranks under Open MPI's `mpirun` that something is done to while they run. */
export class RunningRanks {
  readonly #process: Deno.ChildProcess;
  readonly #stderr: Promise<string>;
  readonly #marker: string;
  readonly #seen = Promise.withResolvers<void>();

  /** @param options `marker`: a text on standard error that `seen()` waits for. */
  constructor(args: readonly string[], options: { size: number; marker: string }) {
    this.#marker = options.marker;
    this.#process = mpirunCommand("openmpi", { ...options, args: [...RUN, ...args] }).spawn();
    this.#stderr = this.#read();
  }

  /** Settles when the marker was written. */
  async seen(): Promise<void> {
    await this.#seen.promise;
  }

  /** The process numbers of the ranks, by rank. */
  pids(): number[] {
    const pids: number[] = [];
    for (const { pid } of childrenOf(this.#process.pid)) {
      const rank = environmentOf(pid).get("OMPI_COMM_WORLD_RANK");
      if (rank !== undefined) pids[Number(rank)] = pid;
    }
    return pids;
  }

  /** How it ended; none of the ranks may be left then. */
  async ended(pids: readonly number[]): Promise<Ended & { left: number[] }> {
    const { code } = await this.#process.status;
    const stdout = await new Response(this.#process.stdout).text();
    const stderr = await this.#stderr;
    // A launcher may return before the system is done with a process that it killed.
    const endMs = performance.now() + LEFT_MS;
    while (pids.some(isRunning) && performance.now() < endMs) {
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    return { code, stdout, stderr, left: pids.filter(isRunning) };
  }

  async #read(): Promise<string> {
    let all = "";
    for await (const text of this.#process.stderr.pipeThrough(new TextDecoderStream())) {
      all += text;
      if (all.includes(this.#marker)) this.#seen.resolve();
    }
    this.#seen.reject(new Error(`It ended before '${this.#marker}': ${all}`));
    return all;
  }
}
