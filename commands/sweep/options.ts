/**
 * What `sweep` is asked for.
 *
 * @module
 */
import type { SampleLoadOptions } from "../shared/load_options.ts";
import type { Generators } from "../../ruler/model.ts";
import type { Grid } from "./settings.ts";

/** A part of the work: the `index`-th of `count`, from 0 on. */
export interface Shard {
  readonly index: number;
  readonly count: number;
}

/** Options of `runSweep()`; the defaults are the command line's. */
export interface SweepOptions extends SampleLoadOptions {
  /** Takes data, records, tables and the report. */
  readonly outputDir: string;
  /** The prompt template. */
  readonly template: string;
  readonly grids: readonly Grid[];
  /** The curves of `calibrate` that densities are chosen from. */
  readonly curvesPath: string | undefined;
  readonly lengths: readonly number[];
  readonly tasks: readonly string[];
  /** Per task and length. */
  readonly sampleCount: number;
  readonly processCount: number;
  readonly shard: Shard | undefined;
  readonly sourceDir: string | undefined;
  readonly cweFrequencies?: readonly number[] | undefined;
  /** Whose generators make RULER's data. @default {"pinned"} */
  readonly generators?: Generators | undefined;
  /** Holds tasks beside RULER's. */
  readonly tasksFile?: string | undefined;
  /** Whether an answer ends at the model's end-of-sequence ids. @default {false} */
  readonly stopAtEos?: boolean | undefined;
  /** Whether a report is written, too. @default {false} */
  readonly withReport?: boolean | undefined;
}
