/**
 * Runs of the `sweep` command whose data needs no computing.
 *
 * @module
 */
import type { SweepOptions } from "../../commands/sweep/options.ts";
import { runSweep } from "../../commands/sweep/sweep.ts";
import { type FakeModels, fakeScreen, NO_INTERRUPTS } from "./fake_model.ts";
import { MODEL } from "./prompts.ts";
import { fakeMaker } from "./ruler_run.ts";

/** Options of a small sweep. */
export function sweepOptions(folder: string, changes: Partial<SweepOptions> = {}): SweepOptions {
  return {
    modelPath: MODEL,
    outputDir: `${folder}/sweep`,
    template: "llama3",
    grids: [{
      attn_type: ["dense", "xattn", "starx"],
      block_size: ["1/2"],
      threshold: [0.5, 0.9],
    }],
    curvesPath: undefined,
    lengths: [512, 1024],
    tasks: ["niah_single_1", "vt"],
    sampleCount: 3,
    processCount: 1,
    shard: undefined,
    sourceDir: undefined,
    device: "cpu",
    dtype: "bf16",
    threads: 1,
    timeoutMs: 60_000,
    ...changes,
  };
}

/** What a sweep printed, logged and made. */
export interface SweepOutcome {
  readonly printed: string;
  readonly logged: readonly string[];
  readonly made: readonly string[];
}

/** Runs `sweep` with a fake maker of data. */
export async function sweep(options: SweepOptions, models: FakeModels): Promise<SweepOutcome> {
  const screen = fakeScreen();
  const made: string[] = [];
  await runSweep(options, {
    screen,
    cleanup: NO_INTERRUPTS,
    loadModel: models.load,
    openDataMaker: () => Promise.resolve(fakeMaker(made)),
  });
  return { printed: screen.printed.join(""), logged: screen.logged, made };
}

/** A table of values without the column of times, which no two runs share. */
export async function csvWithoutTimes(path: string): Promise<string[]> {
  const rows = (await Deno.readTextFile(path)).trimEnd().split("\n").map((row) => row.split(","));
  const seconds = rows[0]?.indexOf("seconds") ?? -1;
  return rows.map((row) => row.toSpliced(seconds, 1).join(","));
}
