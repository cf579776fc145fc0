/**
 * What the commands of benchmarks have in common: options from their flags, and a run on other nodes.
 *
 * @module
 */
import { launchEnvironment } from "../../lib/team/launch.ts";
import type { CommandContext } from "../infer/infer.ts";
import type { Format } from "../results/formats.ts";
import { type EngineFlags, engineOptions, type PlanFlags, planOf } from "../shared/engine_flags.ts";
import type { RulerOptions } from "./options.ts";

/** Values of the flags that every benchmark has. */
interface SuiteFlags extends EngineFlags, PlanFlags {
  readonly model_name: string;
  readonly prompt_config: string;
  readonly seq_lengths: readonly number[];
  readonly tasks: readonly string[];
  readonly pregen_data_dir: string | undefined;
  readonly num_samples_per_task: number;
  readonly nproc_per_node: number | undefined;
  readonly output_dir: string;
  readonly source_dir: string | undefined;
  readonly stop_at_eos: boolean;
  readonly overwrite: boolean;
  readonly format: Format;
  readonly log_samples: boolean;
}

/**
 * The options of `runRuler()` that every benchmark has; the model's folder is still to be found.
 *
 * @throws {UsageError} As `engineOptions()`.
 */
export function suiteOptions(flags: SuiteFlags): Omit<RulerOptions, "modelPath"> {
  return {
    ...engineOptions(flags),
    modelName: flags.model_name,
    template: flags.prompt_config,
    plan: planOf(flags),
    givenAnchorTokens: flags.anchor_block_size,
    lengths: flags.seq_lengths,
    tasks: flags.tasks,
    pregenDir: flags.pregen_data_dir,
    sampleCount: flags.num_samples_per_task,
    processCount: flags.nproc_per_node,
    outputDir: flags.output_dir,
    sourceDir: flags.source_dir,
    stopAtEos: flags.stop_at_eos,
    overwrite: flags.overwrite,
    format: flags.format,
    logSamples: flags.log_samples,
  };
}

/**
 * Runs the command on several nodes, if it is to and is not there already.
 *
 * @param options `entry`: the module that runs this program.
 * @returns The exit code; undefined where the command is to run here.
 * @throws As `runOnNodes()`.
 */
export async function runElsewhere(
  flags: { readonly num_nodes: number; readonly nproc_per_node: number | undefined },
  options: { context: CommandContext; entry: URL },
): Promise<number | undefined> {
  const { context: { args = [], cleanup, launchedRanks }, entry } = options;
  const { num_nodes: nodes, nproc_per_node: tasksPerNode = 1 } = flags;
  if (nodes === 1 || launchedRanks !== undefined) return undefined;
  const { runOnNodes } = await import("../shared/nodes.ts");
  return await runOnNodes({ nodes, tasksPerNode, env: launchEnvironment(), entry, args, cleanup });
}
