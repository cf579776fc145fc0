/**
 * The `sweep` command: RULER's scores of many settings of the attention, by a model that is loaded
 * once; tables of them, and curves of the score against the share of tiles computed.
 *
 * A unit of work is a setting on one task at one length. Any number of processes may run the same
 * command in one folder: each takes units that nobody has, by a lock that the system gives back when
 * its holder ends, so that nothing is done twice and nothing has to be dealt out beforehand.
 *
 * @module
 */
import { announcedDevice } from "../shared/device.ts";
import { loadWeightOptions, weightRecord } from "../shared/weights.ts";
import { resolve } from "node:path";
import { type CheckedPlan, checkPlan, usedRanks } from "../../lib/attention/plan.ts";
import { commonPart } from "../../lib/engine/call_plan.ts";
import { loadModel } from "../../lib/engine/load_model.ts";
import { UsageError } from "../../lib/errors.ts";
import { forcedSet, rowsSetFor } from "../../lib/engine/rows_set.ts";
import { kernelDigest } from "../../lib/ffi/locate.ts";
import type { InstructionSet, RowsSetName } from "../../lib/ffi/status.ts";
import { readConfig } from "../../lib/model/config.ts";
import { modelDigests } from "../../lib/model/digest.ts";
import type { TextTokenizer } from "../../lib/model/tokenizer.ts";
import { openTokenizerThread } from "../../lib/model/tokenizer_thread.ts";
import { WeightGuard } from "../../lib/model/weight_guard.ts";
import type { CommandContext } from "../infer/infer.ts";
import type { OpenDataMaker } from "../ruler/data.ts";
import {
  checkLengths,
  checkSourceDir,
  openTasks,
  openTemplate,
  TEMPLATE_FLAG,
} from "../ruler/open_tasks.ts";
import { checkTemplateName, type ChosenTemplate } from "../ruler/template.ts";
import { ModelSession } from "../shared/model_session.ts";
import { RunProgress } from "../shared/progress.ts";
import { endRecord, planOptions, uncheckedOptions } from "../shared/run_options.ts";
import type { Screen } from "../shared/screen.ts";
import { VERSION } from "../shared/version.ts";
import { SweepFolder } from "./folder.ts";
import { showResults } from "./outcome.ts";
import type { SweepOptions } from "./options.ts";
import type { PlannedSetting } from "./run.ts";
import { allSettings, nameOf, planOf } from "./settings.ts";
import { Tables } from "./tables.ts";
import { Worker } from "./worker.ts";

/**
 * Runs what is not finished of all settings, and writes the tables.
 *
 * @throws {UsageError} If an option cannot be used, or results were made with other ones.
 * @throws {FileError} If the model, the data or the results cannot be read or written.
 * @throws {DeviceError} If the device cannot be used.
 * @throws {WorkerError} If a worker process is lost; finished samples are kept.
 */
export async function runSweep(
  options: SweepOptions,
  context: CommandContext & { readonly openDataMaker?: OpenDataMaker },
): Promise<void> {
  const { screen, cleanup } = context;
  const { modelPath } = options;
  checkTemplateName(options.template, TEMPLATE_FLAG);
  await checkSourceDir(options.sourceDir);
  const config = await readConfig(modelPath, options);
  const { device, announce } = await announcedDevice(config, options, (line) => screen.log(line));
  checkLengths(options.lengths, config);
  const settings = allSettings(options.grids);
  const tables = await Tables.open(settings, { ...options, folder: modelPath, config });
  // Processes agree on nothing, and are to have the same bits: no set is measured.
  const rowsSet = await rowsSetFor({ device, threads: options.threads, recorded: "own" });
  const numerics = { device, rowsSet, forcedSet: await forcedSet(device) };
  const planned = planAll(options, { settings, tables, numerics, screen });
  using tokenizer = await openTokenizerThread(modelPath);
  const template = await openTemplate(options, { tokenizer, screen });
  const { own, maker } = await openTasks(options, { ...context, tokenizer, template });
  const guard = await WeightGuard.open(modelPath);
  const endIds = options.stopAtEos === true ? config.eosTokenIds : [];
  const fresh = await freshRecord(options, { device, template, endIds });
  const folder = await SweepFolder.open(options.outputDir, fresh);
  const worker = new Worker({
    ...{ options, planned, folder, maker, own, screen, endIds },
    progress: new RunProgress(screen, { totalCount: 0 }),
    checkModel: options.copyWeights === true ? async () => {} : () => guard.check(),
    args: context.args ?? [],
  });
  const asked = context.launchedRanks ?? options.processCount;
  for (const group of groupsOf(planned, asked)) {
    await using session = new ModelSession({
      folder: modelPath,
      load: loadOptions(options, { group, device, rowsSet, tokenizer }),
      screen,
      cleanup,
      announce,
      loadModel: context.loadModel ?? loadModel,
    });
    await worker.run(group.planned, {
      prepare: () => session.prepare(group),
      open: () => session.open(group),
    });
  }
  await showResults(worker.state, { ...options, screen });
}

/** What decides about the last bits of results. */
interface Numerics {
  readonly device: "cpu" | "cuda";
  readonly rowsSet: RowsSetName;
  readonly forcedSet: InstructionSet | undefined;
}

/** Every setting at every length that it can be used at. */
function planAll(
  options: SweepOptions,
  context: {
    settings: ReturnType<typeof allSettings>;
    tables: Tables;
    numerics: Numerics;
    screen: Screen;
  },
): PlannedSetting[] {
  const { settings, tables, numerics, screen } = context;
  const { processCount, dtype, weights, head, cache, ropeScaling } = options;
  const all = options.lengths.flatMap((length) =>
    settings.flatMap((setting): PlannedSetting[] => {
      const own = planOf(setting, tables.placeOf(setting, length));
      const plan = checkPlan(own);
      const name = nameOf(setting);
      const { cut } = plan;
      if (cut.kind === "blocks" && cut.blockTokens > length) {
        screen.log(`${name} is skipped at ${length} as its blocks have ${cut.blockTokens} tokens`);
        return [];
      }
      const numbers = { dtype, weights, head, cache, ...numerics };
      const record = planOptions(plan, { ...numbers, processCount, ropeScaling });
      return [{ setting, name, length, options: own, plan, record }];
    })
  );
  if (all.length > 0) return all;
  throw new UsageError(
    `--seq_lengths: none is left to run: current value is ${options.lengths.join(" ")}`,
  );
}

/** Settings that one load of the model can run, on the same processes. */
interface LoadGroup {
  readonly processCount: number;
  readonly planned: readonly PlannedSetting[];
}

/** The model is loaded once for each group. */
function groupsOf(planned: readonly PlannedSetting[], asked: number): LoadGroup[] {
  const ranksOf = (plan: CheckedPlan) => usedRanks(plan, { ranks: asked });
  const groups = Map.groupBy(planned, ({ plan }) => `${ranksOf(plan)} ${commonPart(plan)}`);
  return [...groups.values()].flatMap((own) => {
    const [first] = own;
    return first === undefined ? [] : [{ processCount: ranksOf(first.plan), planned: own }];
  });
}

function loadOptions(
  options: SweepOptions,
  run: {
    group: LoadGroup;
    device: "cpu" | "cuda";
    rowsSet: RowsSetName;
    tokenizer: TextTokenizer;
  },
): ConstructorParameters<typeof ModelSession>[0]["load"] {
  const { dtype: precision, threads, gpusPerRank, timeoutMs, startTimeoutMs } = options;
  const { copyWeights, batchSize, replicas, ropeScaling } = options;
  const { planned } = run.group;
  return {
    ...planned[0]?.options,
    ...loadWeightOptions(options),
    ...{ device: run.device, tokenizer: run.tokenizer, precision, threads, gpusPerRank },
    ...{ timeoutMs, startTimeoutMs, copyWeights, batchSize, replicas, ropeScaling },
    rowsSet: run.rowsSet,
    expectedTokens: Math.max(...planned.map(({ length }) => length)),
  };
}

/** What all results of the folder are made with. */
async function freshRecord(
  options: SweepOptions,
  run: { device: "cpu" | "cuda"; template: ChosenTemplate; endIds: readonly number[] },
): Promise<Parameters<typeof SweepFolder.open>[1]> {
  const { modelPath, dtype, weights, head, cache } = options;
  const { generators, ropeScaling, sampleCount } = options;
  const { device, template, endIds } = run;
  const digests = await modelDigests(modelPath);
  return {
    version: VERSION,
    model: { path: resolve(modelPath), sha256: digests.model, tokenizer: digests.tokenizer },
    kernels: await kernelDigest(device),
    options: {
      device,
      dtype,
      ...weightRecord({ weights, head, cache }),
      prompt_config: template.name,
      ...(generators === "2026" ? { generators } : {}),
      ...(options.stopAtEos === true ? { stop_at_eos: true } : {}),
      ...endRecord(endIds),
      ...(ropeScaling === undefined ? {} : { rope_scaling: JSON.stringify(ropeScaling) }),
    },
    unchecked: { num_samples_per_task: sampleCount, ...uncheckedOptions(options) },
    sessions: [],
    data: {},
  };
}
