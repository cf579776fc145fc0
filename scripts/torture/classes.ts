/**
 * The classes of trials.
 *
 * @module
 */
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

/** All classes, by the name of `--class`. */
export const CLASSES: Readonly<Record<string, TrialClass>> = { kills };
