/**
 * The `ruler` command: makes RULER's data, generates, scores, and shows one table over all lengths.
 *
 * Options, folders and the order of steps follow `run_ruler.py` of NVIDIA/Star-Attention.
 *
 * @module
 */
import { type CheckedPlan, checkPlan, modeOf, sharesContext } from "../../lib/attention/plan.ts";
import { describeKeep } from "../../lib/attention/decode_keep.ts";
import { describeThreshold } from "../../lib/attention/thresholds.ts";
import { announcedDevice } from "../shared/device.ts";
import { describeDtype, loadWeightOptions } from "../shared/weights.ts";
import { errorText, FileError, UsageError } from "../../lib/errors.ts";
import { readConfig } from "../../lib/model/config.ts";
import { modelDigests } from "../../lib/model/digest.ts";
import { WeightGuard } from "../../lib/model/weight_guard.ts";
import { kernelDigest } from "../../lib/ffi/locate.ts";
import { openTokenizerThread } from "../../lib/model/tokenizer_thread.ts";
import { forcedSet, rowsSetFor } from "../../lib/engine/rows_set.ts";
import { checkPlanTable } from "../../lib/engine/threshold_check.ts";
import { loadModel } from "../../lib/engine/load_model.ts";
import { isFolder } from "../../lib/files.ts";
import type { CommandContext } from "../infer/infer.ts";
import { readExperiment } from "../results/experiment.ts";
import { formatExperiments } from "../results/formats.ts";
import { EventLog, writeResults } from "../results/harness.ts";
import { makeFolder } from "../shared/folder.ts";
import { RunLock } from "../shared/run_lock.ts";
import { ModelSession, usableProcesses } from "../shared/model_session.ts";
import { checkSelects } from "../shared/run_options.ts";
import { RunProgress } from "../shared/progress.ts";
import { adoptResults } from "./adopt.ts";
import type { OpenDataMaker } from "./data.ts";
import { Ledger } from "./ledger.ts";
import { runLength } from "./length.ts";
import type { RulerOptions } from "./options.ts";
import { finishedRowsSet, prepareLength, type RulerRun } from "./prepare_length.ts";
import { formatResults } from "./table.ts";
import {
  checkLengths,
  checkSourceDir,
  openTasks,
  openTemplate,
  TEMPLATE_FLAG,
} from "./open_tasks.ts";
import { checkTemplateName } from "./template.ts";
import type { Screen } from "../shared/screen.ts";

/** Lies in the experiment's folder while a run writes there. */
const LOCK_FILE = "run.lock";

/**
 * Runs the tasks at all lengths; what an earlier run finished is kept.
 *
 * @throws {UsageError} If an option cannot be used, or results were made with other ones.
 * @throws {FileError} If the model, the data or the results cannot be read or written.
 * @throws {DeviceError} If the device cannot be used.
 * @throws {WorkerError} If a worker process is lost.
 */
export async function runRuler(
  options: RulerOptions,
  context: CommandContext & { readonly openDataMaker?: OpenDataMaker },
): Promise<void> {
  const { screen, cleanup } = context;
  const { modelPath, sourceDir, dtype, threads, gpusPerRank, timeoutMs, startTimeoutMs } = options;
  const plan = checkPlan(options.plan);
  checkSelects([plan], options);
  checkTemplateName(options.template, TEMPLATE_FLAG);
  const { launchedRanks } = context;
  const processCount = checkProcesses(options, { plan, screen, launchedRanks });
  const config = await readConfig(modelPath, options);
  const { device, announce } = await announcedDevice(config, options, (line) => screen.log(line));
  await checkPlanTable(plan, { folder: modelPath, config });
  await checkSourceDir(sourceDir);
  const lengths = usableLengths({ ...options, plan }, {
    screen,
    maxPositions: config.maxPositions,
  });
  const pregenDir = await findPregenDir(options.pregenDir);
  using tokenizer = await openTokenizerThread(modelPath);
  const folder = experimentFolder({ ...options, plan });
  await makeFolder(folder);
  await using _lock = await RunLock.take(`${folder}/${LOCK_FILE}`, {
    what: "--output_dir, --model_name",
  });
  const recorded = options.overwrite ? undefined : await finishedRowsSet(folder, lengths);
  const rowsSet = await rowsSetFor({ device, threads, recorded });
  const sets = { device, rowsSet, forcedSet: await forcedSet(device) };
  const template = await openTemplate(options, { tokenizer, screen });
  const guard = await WeightGuard.open(modelPath);
  const { own, maker } = await openTasks(options, { ...context, tokenizer, template });
  await using session = new ModelSession({
    folder: modelPath,
    load: {
      ...options.plan,
      ...{ device, precision: dtype, threads, rowsSet, gpusPerRank, timeoutMs, startTimeoutMs },
      tokenizer,
      ...loadWeightOptions(options),
      copyWeights: options.copyWeights,
      batchSize: options.batchSize,
      replicas: options.replicas,
      ropeScaling: options.ropeScaling,
      selectModule: options.selectModule,
      expectedTokens: Math.max(...lengths),
    },
    screen,
    cleanup,
    announce,
    loadModel: context.loadModel ?? loadModel,
  });
  const expected = lengths.length * options.tasks.length * options.sampleCount;
  const run: RulerRun = {
    ...{ ...options, plan, ...sets, processCount, folder, pregenDir, maker, session },
    screen,
    own,
    template: template.name,
    prompt: template,
    templateName: options.template,
    endIds: options.stopAtEos === true ? config.eosTokenIds : [],
    digests: { ...await modelDigests(modelPath), kernels: await kernelDigest(device) },
    progress: new RunProgress(screen, { totalCount: expected }),
    checkModel: options.copyWeights === true ? async () => {} : () => guard.check(),
  };
  await runLengths(run, { ...context, lengths });
}

/** Runs all lengths, and shows what there is, however that ends. */
async function runLengths(
  run: RulerRun,
  context: CommandContext & { lengths: readonly number[] },
): Promise<void> {
  const { screen } = run;
  const { lengths, args = [], cleanup } = context;
  const ledger = new Ledger();
  const startMs = performance.now();
  using events = await EventLog.open(run.folder);
  const show = (): void => {
    const results = ledger.results().filter(({ scores, notes }) =>
      scores.length + notes.length > 0
    );
    if (results.length === 0) return;
    screen.log(`Results: ${run.folder}`);
    const title = describeRun(run);
    const { format = "table" } = run;
    if (format === "table") screen.print(formatResults(results, { title }));
  };
  // Whoever interrupts a run still sees what it found.
  using _interrupted = cleanup.onInterrupt(() => Promise.resolve(show()));
  try {
    for (const maxTokens of lengths) {
      if (run.adopt === true) await adoptResults(maxTokens, run);
      await runLength(await prepareLength(maxTokens, run), { run, ledger, args, events });
    }
  } finally {
    show();
  }
  if (ledger.results().every(({ scores }) => scores.length === 0)) {
    throw new FileError(
      "Cannot run any task as each lacks its data (the lines above say how to get it)",
    );
  }
  const experiment = await readExperiment(run.folder);
  const seconds = (performance.now() - startMs) / 1000;
  const withSamples = run.logSamples ?? false;
  await writeResults(experiment, { date: new Date(), seconds, withSamples });
  const { format = "table" } = run;
  if (format !== "table") screen.print(formatExperiments([experiment], format));
  if (run.withReport === true) await report(run);
}

/** A run succeeds without its report, which needs packages that a machine may not get. */
async function report({ folder, screen }: RulerRun): Promise<void> {
  const outputPath = `${folder}/report.html`;
  try {
    const { writeReport } = await import("../report/report.ts");
    await writeReport({ folders: [folder], outputPath });
    screen.log(`Report: ${outputPath}`);
  } catch (error) {
    screen.log(`No report: ${errorText(error)}`);
  }
}

/**
 * The lengths that can run.
 *
 * @throws {UsageError} If one exceeds the model's positions, or none is left.
 */
function usableLengths(
  options: PlannedOptions,
  context: { screen: Screen; maxPositions: number },
): readonly number[] {
  checkLengths(options.lengths, context);
  const lengths = options.lengths.filter((maxTokens) => isUsable(maxTokens, options, context));
  if (lengths.length > 0) return lengths;
  throw new UsageError(
    `--seq_lengths: none is left to run: current value is ${options.lengths.join(" ")}`,
  );
}

/** Options whose plan is checked. */
type PlannedOptions = Omit<RulerOptions, "plan"> & { readonly plan: CheckedPlan };

/** The processes to use. @throws {UsageError} If they are not given where they must be. */
function checkProcesses(
  options: RulerOptions,
  context: { plan: CheckedPlan; screen: Screen; launchedRanks?: number | undefined },
): number {
  const { plan } = context;
  const processCount = context.launchedRanks ?? options.processCount;
  if (processCount !== undefined) return usableProcesses(plan, processCount, context);
  if (!sharesContext(plan)) return 1;
  throw new UsageError(`--nproc_per_node is required with --attn_type ${modeOf(plan)}`);
}

/** Whether block and anchor fit; as in the original, an anchor that is not given counts as -1. */
function isUsable(
  maxTokens: number,
  options: PlannedOptions,
  context: { screen: Screen },
): boolean {
  const { plan: { cut }, givenAnchorTokens } = options;
  if (cut.kind !== "blocks" || cut.blockTokens + givenAnchorTokens <= maxTokens) return true;
  const anchor = givenAnchorTokens === -1 ? "" : ` plus --anchor_block_size ${givenAnchorTokens}`;
  context.screen.log(
    `Length ${maxTokens} is skipped as it is shorter than --block_size ${cut.blockTokens}${anchor}`,
  );
  return false;
}

/** `<output_dir>/<name>_<mode>`, with `_b1ka1k` in modes with blocks. */
export function experimentFolder(
  options: Pick<RulerOptions, "outputDir" | "modelName"> & { plan: CheckedPlan },
): string {
  const { outputDir, modelName, plan } = options;
  const size = (tokens: number) => tokens < 1024 ? `${tokens}` : `${Math.floor(tokens / 1024)}k`;
  const { cut } = plan;
  const blocks = cut.kind === "blocks"
    ? `_b${size(cut.blockTokens)}a${size(cut.anchorTokens)}`
    : "";
  return `${outputDir.replace(/(?<=.)\/+$/, "")}/${modelName}_${modeOf(plan)}${blocks}`;
}

/** The folder of `-d`: a path, or a name below `dataset` as in the original. */
async function findPregenDir(named: string | undefined): Promise<string | undefined> {
  if (named === undefined) return undefined;
  const places = named.includes("/") ? [named] : [named, `dataset/${named}`];
  for (const place of places) {
    if (await isFolder(place)) return place;
  }
  throw new UsageError(`--pregen_data_dir: must be a folder: current value is '${named}'`);
}

function describeRun(run: RulerRun): string {
  const { plan: { cut, selection, decodeKeep }, modelName } = run;
  const parts = [modelName, modeOf(run.plan)];
  if (cut.kind === "blocks") {
    parts.push(`block ${cut.blockTokens}`, `anchor ${cut.anchorTokens}`);
    if (cut.merge !== "lse") parts.push(`merge ${cut.merge}`);
  }
  if (selection !== undefined) {
    parts.push(`stride ${selection.stride}`, describeThreshold(selection.threshold));
    if (selection.rest === "mean") parts.push("the rest's mean");
  }
  if (decodeKeep !== undefined) parts.push(`decode_keep ${describeKeep(decodeKeep)}`);
  return [...parts, describeDtype(run), `${run.template} prompts`].join(", ");
}
