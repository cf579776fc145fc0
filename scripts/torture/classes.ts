/**
 * The classes of trials.
 *
 * @module
 */
import { buildFaults, Crashes, runCrash } from "./crashes.ts";
import { Dice } from "./dice.ts";
import { drawKill, runKill } from "./kills.ts";
import { countRequests, runMemory } from "./memory.ts";
import { References } from "./runs.ts";
import type { Outcome, Tally } from "./tally.ts";
import type { TortureOptions } from "./trials.ts";
import { driveUsers } from "./user.ts";

/** Runs trials of a class. */
export type TrialClass = (options: TortureOptions, tally: Tally) => Promise<void>;

/** Trials between two lines that say how far it is. */
const REPORT = 50;

/** Signals. */
async function kills(options: TortureOptions, tally: Tally): Promise<void> {
  const { seed, first, count = 500, processes, print } = options;
  const references = new References();
  for (let index = first; index < first + count; index++) {
    const withBatch = index % 3 !== 0;
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
    const drawn = new Crashes(seed, library);
    for (let index = first; index < first + count; index++) {
      const trial = await drawn.draw(index);
      if (trial === undefined) break;
      const { setup: { command, ranks }, call, how } = trial;
      const kind = /^\d+$/.test(how) ? "error" : "crash";
      const what = `${command} -np ${ranks}: ${how} at ${call.name} ${call.path}`;
      const name = { class: "crashes", kind, seed, index, what };
      tally.add(name, await runCrash(trial, { library, references }));
      if ((index + 1 - first) % REPORT === 0) print(`crashes: ${index + 1 - first} of ${count}`);
    }
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** Memory that is refused. */
async function memory(options: TortureOptions, tally: Tally): Promise<void> {
  const { seed, first } = options;
  const folder = await Deno.makeTempDir({ prefix: "starx-torture-" });
  try {
    const library = await buildFaults(folder);
    const references = new References();
    const end = Math.min(await countRequests(library), first + (options.count ?? Infinity));
    for (let index = first; index < end; index++) {
      const what = `request ${index + 1} of a rank is refused`;
      const name = { class: "memory", kind: "two ranks", seed, index, what };
      tally.add(name, await runMemory(index + 1, { library, references }));
    }
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** Trials that processes of their own make. */
function users(name: string, usual: number): TrialClass {
  return async ({ seed, first, count = usual, print }, tally) => {
    let done = 0;
    const onTrial = (line: { index: number; kind: string; what: string; outcome: Outcome }) => {
      const { outcome, ...trial } = line;
      tally.add({ class: name, seed, ...trial }, outcome);
      if (++done % (10 * REPORT) === 0) print(`${name}: ${done} of ${count}`);
    };
    await driveUsers(name, { seed, first, count, onTrial });
  };
}

/** All classes, by the name of `--class`. */
export const CLASSES: Readonly<Record<string, TrialClass>> = {
  kills,
  crashes,
  memory,
  calls: users("calls", 300),
  inputs: users("inputs", 10_000),
};
