/**
 * What `ruler` is asked for.
 *
 * @module
 */
import type { SampleLoadOptions } from "../shared/load_options.ts";
import type { SelectModule } from "../../lib/attention/select_module.ts";
import type { PlanOptions } from "../../lib/attention/plan.ts";
import type { Generators } from "../../ruler/model.ts";
import type { Format } from "../results/formats.ts";

/** Options of `runRuler()`; the defaults are the command line's. */
export interface RulerOptions extends SampleLoadOptions {
  readonly modelName: string;
  /** The prompt template. */
  readonly template: string;
  readonly plan: PlanOptions;
  /** What `--anchor_block_size` was given as; -1 if it was not. */
  readonly givenAnchorTokens: number;
  readonly lengths: readonly number[];
  readonly tasks: readonly string[];
  readonly pregenDir: string | undefined;
  readonly sampleCount: number;
  readonly processCount: number | undefined;
  readonly outputDir: string;
  readonly sourceDir: string | undefined;
  /** How often cwe's common and other words occur, if not as in its settings. */
  readonly cweFrequencies?: readonly number[] | undefined;
  /** Whose generators make RULER's data. @default {"pinned"} */
  readonly generators?: Generators | undefined;
  /** Holds tasks beside RULER's. */
  readonly tasksFile?: string | undefined;
  /** Whether an answer ends at the model's end-of-sequence ids. @default {false} */
  readonly stopAtEos?: boolean | undefined;
  /** Selects tiles, or looks at them. */
  readonly selectModule?: SelectModule | undefined;
  /** What is printed at the end. @default {"table"} */
  readonly format?: Format | undefined;
  /** Whether a file of samples per task is written, as lm-evaluation-harness has it. */
  readonly logSamples?: boolean | undefined;
  /** Whether a report is written, too. @default {false} */
  readonly withReport?: boolean | undefined;
  /** Whether results of NVIDIA/Star-Attention's program go on here. */
  readonly adopt?: boolean | undefined;
  /** Whether results of these lengths are removed first. */
  readonly overwrite?: boolean | undefined;
}
