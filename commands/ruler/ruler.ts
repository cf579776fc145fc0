/**
 * The `ruler` command: makes RULER's data, generates, scores, and shows one table over all lengths.
 *
 * Options, folders and the order of steps follow `run_ruler.py` of NVIDIA/Star-Attention.
 *
 * @module
 */
import { type CheckedPlan, checkPlan, modeOf, sharesContext } from "../../lib/attention/plan.ts";
import { chooseDevice } from "../../lib/device/open.ts";
import { UsageError } from "../../lib/errors.ts";
import { readConfig } from "../../lib/model/config.ts";
import { modelDigest } from "../../lib/model/digest.ts";
import { openTokenizerThread } from "../../lib/model/tokenizer_thread.ts";
import { loadModel } from "../../lib/engine/load_model.ts";
import type { CommandContext } from "../infer/infer.ts";
import { ModelSession, usableProcesses } from "../shared/model_session.ts";
import { RunProgress } from "../shared/progress.ts";
import type { OpenDataMaker } from "./data.ts";
import { type LengthResult, prepareLength, type RulerRun, runLength } from "./length.ts";
import type { RulerOptions } from "./options.ts";
import { formatResults } from "./table.ts";
import { checkTemplateName, chooseTemplate } from "./template.ts";
import type { Screen } from "../shared/screen.ts";

const TEMPLATE_FLAG = "--prompt_config";

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
  const { modelPath, sourceDir, dtype, threads, gpusPerRank, timeoutMs } = options;
  const plan = checkPlan(options.plan);
  const { kind: device, note } = await chooseDevice(options.device, options);
  if (note !== undefined) screen.log(note);
  checkTemplateName(options.template, TEMPLATE_FLAG);
  const { launchedRanks } = context;
  const processCount = checkProcesses(options, { plan, screen, launchedRanks });
  const lengths = options.lengths.filter((maxTokens) =>
    isUsable(maxTokens, { ...options, plan }, { screen })
  );
  if (lengths.length === 0) return;
  await readConfig(modelPath);
  using tokenizer = await openTokenizerThread(modelPath);
  const template = await chooseTemplate(options.template, {
    folder: modelPath,
    tokenizer,
    flag: TEMPLATE_FLAG,
  });
  const openMaker: OpenDataMaker = context.openDataMaker ??
    (await import("./maker.ts")).openDataMaker;
  const maker = await openMaker({
    countTokens: (text) => tokenizer.count(text),
    sourceDir,
    template,
  });
  await using session = new ModelSession({
    folder: modelPath,
    load: {
      ...options.plan,
      ...{ device, precision: dtype, threads, gpusPerRank, timeoutMs, tokenizer },
      expectedTokens: Math.max(...lengths),
    },
    screen,
    cleanup,
    loadModel: context.loadModel ?? loadModel,
  });
  const expected = lengths.length * options.tasks.length * options.sampleCount;
  const run: RulerRun = {
    ...options,
    plan,
    device,
    processCount,
    template: template.name,
    folder: experimentFolder({ ...options, plan }),
    pregenDir: await findPregenDir(options.pregenDir),
    modelSha256: await modelDigest(modelPath),
    maker,
    session,
    screen,
    progress: new RunProgress(screen, { totalCount: expected }),
  };
  const results: LengthResult[] = [];
  for (const maxTokens of lengths) {
    const prepared = await prepareLength(maxTokens, run);
    const result = await runLength(prepared, run);
    if (result !== undefined) results.push(result);
  }
  screen.log(`Results: ${run.folder}`);
  screen.print(formatResults(results, { title: describeRun(run) }));
}

/** The processes to use. @throws {UsageError} If they are not given where they must be. */
function checkProcesses(
  options: RulerOptions,
  context: { plan: CheckedPlan; screen: Screen; launchedRanks?: number | undefined },
): number {
  const { plan } = context;
  const processCount = context.launchedRanks ?? options.processCount;
  if (processCount !== undefined) return usableProcesses(plan, processCount, context);
  if (!sharesContext(plan)) return 1;
  throw new UsageError(`--nproc_per_node: is required with --attn_type ${modeOf(plan)}`);
}

/** Whether block and anchor fit; as in the original, an anchor that is not given counts as -1. */
function isUsable(
  maxTokens: number,
  options: { plan: CheckedPlan; givenAnchorTokens: number },
  context: { screen: Screen },
): boolean {
  const { plan: { cut }, givenAnchorTokens } = options;
  const sum = cut.kind === "blocks" ? cut.blockTokens + givenAnchorTokens : 0;
  if (sum <= maxTokens) return true;
  context.screen.log(
    `Length ${maxTokens} is skipped as --block_size plus --anchor_block_size must not exceed it: ` +
      `current value is ${sum}`,
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
    if (await Deno.stat(place).then(({ isDirectory }) => isDirectory, () => false)) return place;
  }
  throw new UsageError(`--pregen_data_dir: must be a folder: current value is '${named}'`);
}

function describeRun(run: RulerRun): string {
  const { plan: { cut, selection }, dtype, modelName } = run;
  const parts = [modelName, modeOf(run.plan)];
  if (cut.kind === "blocks") {
    parts.push(`block ${cut.blockTokens}`, `anchor ${cut.anchorTokens}`);
    if (cut.merge !== "lse") parts.push(`merge ${cut.merge}`);
  }
  if (selection !== undefined) {
    parts.push(`stride ${selection.stride}`, `threshold ${selection.threshold}`);
  }
  return [...parts, dtype, `${run.template} prompts`].join(", ");
}
