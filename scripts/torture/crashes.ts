/**
 * Crashes and errors of the file system, one at a time, at the calls that touch the folder of the
 * results; and what is there when the run has been continued to its end.
 *
 * @module
 */
import { fileURLToPath } from "node:url";
import { Dice } from "./dice.ts";
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

/** A call that an undisturbed run makes. */
export interface FileCall {
  readonly number: number;
  readonly name: string;
  readonly path: string;
}

/** Where something happens, and what. */
export interface CrashTrial {
  readonly setup: Setup;
  readonly call: FileCall;
  /** `before`, `half`, `after`, or the number of an error. */
  readonly how: string;
}

const SOURCE = fileURLToPath(new URL("./faults.cpp", import.meta.url));
/** Calls that change something on a disk. */
const CHANGES = ["create", "write", "truncate", "rename", "unlink", "mkdir", "fsync", "fdatasync"];
/** `errno.h`. */
const EIO = "5";
const ENOSPC = "28";
const SETUPS: readonly Setup[] = [
  { command: "infer", ranks: 1, batch: 1 },
  { command: "infer", ranks: 2, batch: 3 },
  { command: "ruler", ranks: 1, batch: 2 },
];

/** Builds the library that counts calls. @returns Its path; the folder is the caller's. */
export async function buildFaults(folder: string): Promise<string> {
  const path = `${folder}/faults.so`;
  const { success, stderr } = await new Deno.Command("g++", {
    args: ["-O1", "-shared", "-fPIC", "-o", path, SOURCE, "-ldl"],
  }).output();
  if (success) return path;
  throw new Error(`g++ does not build ${SOURCE}: ${new TextDecoder().decode(stderr)}`);
}

/** The variables under which the program's calls on a folder are counted. */
export function faultVariables(
  library: string,
  options: { folder: string; log?: string; at?: number; how?: string },
): Record<string, string> {
  const { folder, log, at = 0, how = "" } = options;
  return {
    LD_PRELOAD: library,
    TORTURE_FOLDER: folder,
    TORTURE_AT: String(at),
    TORTURE_HOW: how,
    ...(log === undefined ? {} : { TORTURE_LOG: log }),
  };
}

/** The calls that a log has. */
export function parseCalls(text: string): FileCall[] {
  return text.split("\n").slice(0, -1).map((line) => {
    const [number, name = "", ...path] = line.split(" ");
    return { number: Number(number), name, path: path.join(" ") };
  });
}

/** Draws the points of crashes; trials go through the setups in turn. */
export class Crashes {
  readonly #seed: string;
  readonly #library: string;
  readonly #points = new Map<Setup, Promise<CrashTrial[]>>();

  /** @param library What `buildFaults()` built. */
  constructor(seed: string, library: string) {
    this.#seed = seed;
    this.#library = library;
  }

  /** A trial by its number; undefined behind the last point. */
  async draw(index: number): Promise<CrashTrial | undefined> {
    const setup = SETUPS[index % SETUPS.length];
    if (setup === undefined) return undefined;
    const points = this.#points.get(setup) ?? this.#pointsOf(setup);
    this.#points.set(setup, points);
    return (await points)[Math.floor(index / SETUPS.length)];
  }

  /** All points of a setup, in an order by chance. */
  async #pointsOf(setup: Setup): Promise<CrashTrial[]> {
    const dice = new Dice(`${this.#seed} crashes ${JSON.stringify(setup)}`);
    const trials = (await callsOf(setup, this.#library)).flatMap((call) => {
      const isChange = CHANGES.includes(call.name);
      const ways = [
        ...(isChange ? ["before", "after", ENOSPC] : []),
        ...(call.name === "write" ? ["half"] : []),
        EIO,
      ];
      return ways.map((how) => ({ setup, call, how }));
    });
    const ranked = trials.map((trial) => ({ trial, rank: dice.unit() }));
    return ranked.sort((a, b) => a.rank - b.rank).map(({ trial }) => trial);
  }
}

async function callsOf(setup: Setup, library: string): Promise<FileCall[]> {
  const folder = await Deno.makeTempDir({ prefix: "starx-torture-" });
  const log = `${folder}.log`;
  try {
    await writeInput(folder);
    const env = faultVariables(library, { folder, log });
    const running = startProgram(argsOf(setup), { cwd: folder, timeoutMs: wholeMs(), env });
    const { code, stderr } = await running.ended;
    if (code !== 0) throw new Error(`A run that is counted ends with ${code}: ${stderr}`);
    return parseCalls(await Deno.readTextFile(log));
  } finally {
    await Deno.remove(folder, { recursive: true });
    await Deno.remove(log).catch(() => {});
  }
}

/** Runs, crashes, continues to the end, and compares. */
export async function runCrash(
  trial: CrashTrial,
  options: { library: string; references: References },
): Promise<Outcome> {
  const { setup, call, how } = trial;
  const { library, references } = options;
  const reference = await references.of(setup);
  const folder = await Deno.makeTempDir({ prefix: "starx-torture-" });
  const faults: Fault[] = [];
  try {
    await writeInput(folder);
    const env = faultVariables(library, { folder, at: call.number, how });
    const place = { cwd: folder, timeoutMs: wholeMs(), env };
    const hit = await startProgram(argsOf(setup), place).ended;
    const isCrash = !/^\d+$/.test(how);
    const { how: ending, faults: found } = judge(hit, isCrash ? ["SIGKILL"] : []);
    faults.push(...found, ...await compareBeginning(folder, reference));
    faults.push(...await continueRun(folder, { setup, reference }));
    const counts = { crashed: Number(hit.signal === "SIGKILL"), errors: Number(!isCrash) };
    return { how: ending, faults, counts };
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}
