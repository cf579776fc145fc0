/**
 * Requests of the CPU library for memory that are refused, one at a time, on one of two ranks: the run
 * goes on, or ends in a line that says so; and what is there when it has been continued.
 *
 * @module
 */
import { startProgram, wholeMs } from "./programs.ts";
import {
  argsOf,
  compareBeginning,
  continueRun,
  type References,
  type Setup,
  writeInput,
} from "./runs.ts";
import { type Fault, judge, type Outcome } from "./tally.ts";

const SETUP: Setup = { command: "infer", ranks: 2, batch: 3 };
/** The rank whose requests are refused. */
const RANK = 1;

/** How a run ended whose requests were counted. */
interface MemoryRun {
  readonly code: number;
  readonly stderr: string;
  readonly outcome: Outcome;
  /** Requests for memory. */
  readonly requests: number;
}

/** Runs in a folder with an input. @param refused The request that is refused; 0 for none. */
async function run(folder: string, options: { library: string; refused: number }) {
  const { library, refused } = options;
  const log = `${folder}.log`;
  const env = {
    LD_PRELOAD: library,
    TORTURE_RANK: String(RANK),
    TORTURE_MEMORY: String(refused),
    TORTURE_LOG: log,
  };
  try {
    const place = { cwd: folder, timeoutMs: wholeMs(), env };
    const ended = await startProgram(argsOf(SETUP), place).ended;
    const text = await Deno.readTextFile(log).catch(() => "");
    const requests = text.split("\n").filter((line) => line.includes(" memory ")).length;
    const { code, stderr } = ended;
    return { code, stderr, outcome: judge(ended), requests } satisfies MemoryRun;
  } finally {
    await Deno.remove(log).catch(() => {});
  }
}

/** How many requests a rank makes in a run that is not disturbed. */
export async function countRequests(library: string): Promise<number> {
  const folder = await Deno.makeTempDir({ prefix: "starx-torture-" });
  try {
    await writeInput(folder);
    return (await run(folder, { library, refused: 0 })).requests;
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** Refuses a request, continues the run to its end, and compares. */
export async function runMemory(
  refused: number,
  options: { library: string; references: References },
): Promise<Outcome & { readonly code: number; readonly stderr: string }> {
  const { library, references } = options;
  const reference = await references.of(SETUP);
  const folder = await Deno.makeTempDir({ prefix: "starx-torture-" });
  const faults: Fault[] = [];
  try {
    await writeInput(folder);
    const { code, stderr, outcome } = await run(folder, { library, refused });
    faults.push(...outcome.faults, ...await compareBeginning(folder, reference));
    faults.push(...await continueRun(folder, { setup: SETUP, reference }));
    return { how: outcome.how, faults, code, stderr };
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}
