/**
 * The classes of trials.
 *
 * @module
 */
import { buildFaults, drawCrashes, runCrash } from "./crashes.ts";
import { Dice } from "./dice.ts";
import { drawKill, runKill } from "./kills.ts";
import { References } from "./runs.ts";
import type { Tally } from "./tally.ts";

/** How many trials of which kind. */
export interface TortureOptions {
  readonly seed: string;
  readonly first: number;
  /** Undefined for as many as a class is worth. */
  readonly count: number | undefined;
  /** Processes of a run, at most. */
  readonly processes: number;
  readonly print: (line: string) => void;
}

/** Runs trials of a class. */
export type TrialClass = (options: TortureOptions, tally: Tally) => Promise<void>;

/** Trials between two lines that say how far it is. */
const REPORT = 50;

/** Signals. */
async function kills(options: TortureOptions, tally: Tally): Promise<void> {
  const { seed, first, count = 500, processes, print } = options;
  const references = new References();
  for (let index = first; index < first + count; index++) {
    const withBatch = index % 2 === 1;
    const trial = drawKill(new Dice(`${seed} kills ${index}`), { ranks: processes, withBatch });
    const kind = `${trial.setup.command}, ${withBatch ? "batch" : "one by one"}`;
    const name = { class: "kills", kind, seed, index, what: trial.what };
    tally.add(name, await runKill(trial, references));
    if ((index + 1 - first) % REPORT === 0) print(`kills: ${index + 1 - first} of ${count}`);
  }
}

/** Crashes and errors of the file system. */
async function crashes(options: TortureOptions, tally: Tally): Promise<void> {
  const { seed, first, count = 200, print } = options;
  const folder = await Deno.makeTempDir({ prefix: "starx-torture-" });
  try {
    const library = await buildFaults(folder);
    const references = new References();
    const trials = await drawCrashes(new Dice(`${seed} crashes`), library);
    print(`crashes: ${trials.length} points`);
    for (const [at, trial] of trials.slice(first, first + count).entries()) {
      const { setup: { command, ranks }, call, how } = trial;
      const kind = /^\d+$/.test(how) ? "error" : "crash";
      const what = `${command} -np ${ranks}: ${how} at ${call.name} ${call.path}`;
      const name = { class: "crashes", kind, seed, index: first + at, what };
      tally.add(name, await runCrash(trial, { library, references }));
      if ((at + 1) % REPORT === 0) print(`crashes: ${at + 1} of ${count}`);
    }
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** All classes, by the name of `--class`. */
export const CLASSES: Readonly<Record<string, TrialClass>> = { kills, crashes };
