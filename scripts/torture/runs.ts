/**
 * The small runs that are disturbed, and what they leave when nobody does.
 *
 * @module
 */
import { compareResults, readTexts, type Texts, wholeLines } from "./records.ts";
import { startProgram, TINY, wholeMs } from "./programs.ts";
import { type Fault, judge } from "./tally.ts";

/** How to run. */
export interface Setup {
  readonly command: "infer" | "ruler";
  readonly ranks: number;
  readonly batch: number;
}

/** Samples of `infer`, and of each length of `ruler`. */
const SAMPLES = { infer: 7, ruler: 4 } as const;

/** Where the records come that are written first. */
const FIRST_OUTPUT = {
  infer: "out.jsonl",
  ruler: "results/x_star_b256a256/1024/vt.jsonl",
} as const;

/** What is compared: everything that holds no time and no path. */
const COMPARED = /^out\.jsonl$|\/\d+\/(\w+\.jsonl|data\/\w+\/validation\.jsonl|\w+\.csv)$/;
const LOGS = /\/logs\/\w+\/samples\.jsonl$/;

/** Writes the input of `infer`: contexts of some hundred tokens. */
export async function writeInput(folder: string): Promise<void> {
  const lines = Array.from({ length: SAMPLES.infer }, (_, index) =>
    JSON.stringify({
      index,
      input_context: "The grass is green. The sky is blue. ".repeat(8 + 5 * (index % 3)) +
        `The number of door ${index} is ${(index + 1) * 1237}.\n`,
      input_query: `The number of door ${index} is`,
      outputs: [String((index + 1) * 1237)],
    }));
  await Deno.writeTextFile(`${folder}/in.jsonl`, `${lines.join("\n")}\n`);
}

/** The command line of a run, whose files lie in the folder that it runs in. */
export function argsOf(setup: Setup, flags: readonly string[] = []): string[] {
  const { command, ranks, batch } = setup;
  const common = [
    ...["-p", TINY, "-a", "star", "-np", String(ranks), "-b", String(batch), "--threads", "1"],
    ...["--device", "cpu", ...flags],
  ];
  return command === "infer"
    ? [
      ...["infer", ...common, "-bs", "64", "--tokens_to_generate", "16", "--ignore_eos"],
      ...["--input_path", "in.jsonl", "--output_path", "out.jsonl"],
    ]
    : [
      ...["ruler", ...common, "-n", "x", "-pc", "base", "-bs", "256", "-l", "1024", "1200"],
      ...["-t", "vt", "--num_samples_per_task", String(SAMPLES.ruler), "--output_dir", "results"],
      "--no_report",
    ];
}

/** How many records of the first output file are whole, and of how many. */
export async function recordCount(
  folder: string,
  setup: Setup,
): Promise<{ count: number; of: number }> {
  const path = `${folder}/${FIRST_OUTPUT[setup.command]}`;
  const text = await Deno.readTextFile(path).catch(() => "");
  return { count: wholeLines(text).length, of: SAMPLES[setup.command] };
}

/** What undisturbed runs leave, once for each command and number of ranks. */
export class References {
  readonly #found = new Map<string, Promise<Reference>>();

  /** Takes what is there, or runs. */
  of(setup: Setup): Promise<Reference> {
    const key = `${setup.command} ${setup.ranks}`;
    const found = this.#found.get(key) ?? makeReference({ ...setup, batch: 1 });
    this.#found.set(key, found);
    return found;
  }
}

/** What an undisturbed run leaves. */
export interface Reference {
  readonly texts: Texts;
  readonly ms: number;
}

async function makeReference(setup: Setup): Promise<Reference> {
  const folder = await Deno.makeTempDir({ prefix: "starx-torture-" });
  try {
    await writeInput(folder);
    const startMs = performance.now();
    const running = startProgram(argsOf(setup), { cwd: folder, timeoutMs: wholeMs() });
    const { code, stderr } = await running.ended;
    if (code !== 0) throw new Error(`A run that nobody disturbs ends with ${code}: ${stderr}`);
    const ms = performance.now() - startMs;
    const texts = await readTexts(folder, (path) => COMPARED.test(path) || LOGS.test(path));
    return { texts, ms };
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** Runs the command again, which must end well and leave what the reference has. */
export async function continueRun(
  folder: string,
  options: { setup: Setup; reference: Reference },
): Promise<Fault[]> {
  const { setup, reference } = options;
  const ended = await startProgram(argsOf(setup), { cwd: folder, timeoutMs: wholeMs() }).ended;
  const { faults } = judge(ended);
  const failure: Fault[] = ended.code === 0
    ? []
    : [{ kind: "other", text: `Continued, it ends with ${ended.code}: ${ended.stderr}` }];
  return [...faults, ...failure, ...await compareRun(folder, reference)];
}

/** Compares what a finished run left with its reference. */
async function compareRun(folder: string, reference: Reference): Promise<Fault[]> {
  const { texts: expected } = reference;
  const found = await readTexts(folder, (path) => expected.has(path));
  return [...expected].flatMap(([path, text]) => {
    if (!LOGS.test(path)) {
      return compareResults(path, { found: found.get(path), expected: text });
    }
    // Times differ; but each sample has one line, or one that says that it was lost.
    const count = wholeLines(found.get(path) ?? "").length;
    const expectedCount = wholeLines(text).length;
    if (count === expectedCount) return [];
    const kind = count < expectedCount ? "lost" : "doubled";
    return [{ kind, text: `${path}: ${count} lines in place of ${expectedCount}` } as const];
  });
}

/** Compares what a disturbed run left so far: whole records must be the first ones, in order. */
export async function compareBeginning(folder: string, reference: Reference): Promise<Fault[]> {
  const records = [...reference.texts.keys()].filter((path) => /(^|\/\d+\/)\w+\.jsonl$/.test(path));
  const found = await readTexts(folder, (path) => records.includes(path));
  return records.flatMap((path): Fault[] => {
    const own = wholeLines(found.get(path) ?? "");
    const expected = wholeLines(reference.texts.get(path) ?? "");
    const at = own.findIndex((line, i) => line !== expected[i]);
    return at < 0 ? [] : [{ kind: "different", text: `${path}: line ${at + 1} when interrupted` }];
  });
}
