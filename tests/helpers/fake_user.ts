/**
 * A process that reads damaged inputs as the program does, one after the other, and prints a JSON
 * line before and after each: whoever started it sees which one ended it, or holds it up.
 *
 * Arguments: a seed, a kind, how many inputs.
 *
 * @module
 */
import { cpuUsage } from "node:process";
import { FinishedSamples } from "../../commands/shared/output_records.ts";
import { readSamples, surveySamples } from "../../commands/shared/samples.ts";
import {
  DeviceError,
  errorText,
  FileError,
  invariant,
  RequestError,
  UsageError,
  WorkerError,
} from "../../lib/errors.ts";
import { readJsonLines, recoverJsonLines } from "../../lib/jsonl.ts";
import { loadModel } from "../../lib/engine/load_model.ts";
import { evaluateFolder } from "../../ruler/evaluate.ts";
import { fuzzModel, safetensorsBytes } from "../../scripts/torture/fuzz_model.ts";
import { type Kind, KINDS, mutate } from "../../scripts/torture/mutations.ts";
import { STAR } from "./prompts.ts";
import { Random, seedOf } from "./random.ts";

/** What is printed. */
export interface UserLine {
  readonly index: number;
  /** What was done to the input. */
  readonly what: string;
  readonly isStructural: boolean;
  /** Absent before the input is read. */
  readonly outcome?: "done" | "refused" | "crashed";
  readonly message?: string;
  /** What it computed for. */
  readonly ms?: number;
}

const FILE_OF = {
  safetensors: "model.safetensors",
  config: "config.json",
  tokenizer: "tokenizer.json",
  jsonl: "vt.jsonl",
} as const;

/** Loads the model and lets it answer a question. */
async function useModel(folder: string): Promise<void> {
  await using model = await loadModel(folder, {
    ...STAR,
    blockTokens: 32,
    anchorTokens: 32,
    device: "cpu",
    precision: "bf16",
    processCount: 1,
    threads: 1,
    timeoutMs: 10_000,
  });
  const prompt = { context: "The sky is blue; 1234 é😀\n ".repeat(4), query: "?", sample: "1" };
  await model.generate(prompt, { tokensToGenerate: 2, stopWords: ["<|eot_id|>"], topLogits: 3 });
}

/** Reads a file of JSON lines in every way in which it is read. */
async function useLines(folder: string): Promise<void> {
  const path = `${folder}/${FILE_OF.jsonl}`;
  const ways: readonly (() => Promise<unknown>)[] = [
    () => surveySamples(path),
    async () =>
      await FinishedSamples.read(path, { survey: await surveySamples(path), inputPath: path }),
    () => Array.fromAsync(readSamples(path)),
    () => Array.fromAsync(readJsonLines(path)),
    () => evaluateFolder(folder, { print: () => {} }),
    () => recoverJsonLines(path),
  ];
  const faults: unknown[] = [];
  for (const way of ways) await way().catch((error) => faults.push(error));
  // One that is no refusal is worth more than all that are.
  const worst = faults.find((error) => !isRefusal(error)) ?? faults[0];
  if (worst !== undefined) throw worst;
}

/** Whether an error is one that callers can tell apart, with a message for them. */
function isRefusal(error: unknown): boolean {
  const kinds = [FileError, RequestError, UsageError, DeviceError, WorkerError, SyntaxError];
  return kinds.some((kind) => error instanceof kind);
}

function print(line: UserLine): void {
  const bytes = new TextEncoder().encode(`${JSON.stringify(line)}\n`);
  for (let at = 0; at < bytes.length;) at += Deno.stdout.writeSync(bytes.subarray(at));
}

async function main(): Promise<void> {
  const [seed = "", name = "", count = ""] = Deno.args;
  const kind = KINDS.find((kind) => kind === name);
  invariant(kind !== undefined, `${name} must be a kind`);
  const files = fuzzModel();
  const folder = await Deno.makeTempDir({ prefix: "starx-fuzz-" });
  const whole: Readonly<Record<Exclude<Kind, "jsonl">, Uint8Array>> = {
    safetensors: safetensorsBytes(JSON.stringify(files.weights.header), files.weights.data),
    config: new TextEncoder().encode(JSON.stringify(files.config)),
    tokenizer: new TextEncoder().encode(JSON.stringify(files.tokenizer)),
  };
  const restore = async (): Promise<void> => {
    for (const [kind, bytes] of Object.entries(whole)) {
      await Deno.writeFile(`${folder}/${FILE_OF[kind as Kind]}`, bytes);
    }
  };
  const use = kind === "jsonl" ? useLines : useModel;
  const run = async (line: UserLine): Promise<void> => {
    print(line);
    const start = cpuUsage();
    const ms = () => {
      const { user, system } = cpuUsage(start);
      return Math.round((user + system) / 1000);
    };
    try {
      await use(folder);
      print({ ...line, outcome: "done", ms: ms() });
    } catch (error) {
      const outcome = isRefusal(error) ? "refused" : "crashed";
      const message = outcome === "crashed" && error instanceof Error
        ? error.stack ?? error.message
        : errorText(error);
      print({ ...line, outcome, message, ms: ms() });
    }
  };
  try {
    await restore();
    for (let index = 0; index < Number(count); index++) {
      const { bytes, what, isStructural } = mutate(
        kind,
        new Random(seedOf(`${seed} ${kind} ${index}`)),
        files,
      );
      await Deno.writeFile(`${folder}/${FILE_OF[kind]}`, bytes);
      await run({ index, what, isStructural });
    }
    if (kind !== "jsonl") {
      // What came before must not have spoiled anything.
      await restore();
      await run({ index: Number(count), what: "nothing", isStructural: false });
    }
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

await main();
