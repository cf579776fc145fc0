/**
 * The `calibrate` command: finds a threshold of the selection, or a share of a tile, for each layer and
 * head, by what each would keep of the exact attention of some prompts.
 *
 * @module
 */
import { announcedDevice } from "../shared/device.ts";
import { loadWeightOptions } from "../shared/weights.ts";
import { dirname, resolve } from "node:path";
import {
  type CheckedPlan,
  checkPlan,
  PLAN_DEFAULTS,
  sharesContext,
} from "../../lib/attention/plan.ts";
import { nearestStep, thresholdOfStep } from "../../lib/attention/curve_steps.ts";
import {
  isTable,
  numberOf,
  thresholdRecord,
  type TileRule,
} from "../../lib/attention/thresholds.ts";
import { FileError, invariant, RequestError, UsageError } from "../../lib/errors.ts";
import { loadModel } from "../../lib/engine/load_model.ts";
import { forcedSet } from "../../lib/engine/rows_set.ts";
import type { InstructionSet } from "../../lib/ffi/status.ts";
import { removeFile, replaceFile } from "../../lib/files.ts";
import { readConfig } from "../../lib/model/config.ts";
import { modelDigest } from "../../lib/model/digest.ts";
import { openTokenizerThread } from "../../lib/model/tokenizer_thread.ts";
import type { CommandContext } from "../infer/infer.ts";
import { makeFolder } from "../shared/folder.ts";
import { checkOutputFile } from "../shared/output_file.ts";
import { runInOrder } from "../shared/in_order.ts";
import { ModelSession, usableProcesses } from "../shared/model_session.ts";
import { planOptions } from "../shared/run_options.ts";
import { RunLock } from "../shared/run_lock.ts";
import { alignedTable } from "../shared/text_table.ts";
import { VERSION } from "../shared/version.ts";
import type { CalibrateOptions } from "./options.ts";
import { CurveFile, type CurveOptions } from "./curve_file.ts";
import { measureEffects, poolMeasured } from "./effects.ts";
import { type CalibrationPrompt, calibrationPrompts, checkPrompts } from "./prompts.ts";
import {
  chooseSteps,
  type Goal,
  type HeadSteps,
  type Kept,
  keptBy,
  meanKept,
  tableOf,
} from "./thresholds.ts";

/**
 * Measures the prompts that are not measured yet, and writes the thresholds.
 *
 * @throws {UsageError} If an option cannot be used, or earlier curves were made with other ones.
 * @throws {FileError} If the model, a prompt or the result cannot be read or written.
 * @throws {DeviceError} If the device cannot be used.
 * @throws {WorkerError} If a rank is lost; what was measured is kept.
 */
export async function runCalibrate(
  options: CalibrateOptions,
  context: CommandContext,
): Promise<void> {
  const { screen } = context;
  const { modelPath: folder, outputPath } = options;
  const plan = checkPlan(options.plan);
  const { rule } = options;
  const before = checkBefore(plan, rule);
  checkPrompts(options);
  const config = await readConfig(folder, options);
  const { device, announce } = await announcedDevice(config, options, (line) => screen.log(line));
  const { processCount, replicas } = processesOf(options, { plan, context });
  await checkOutputFile(outputPath, {
    kind: "a table of calibrate",
    isOwn: (begin) => /^\s*\{\s*"stride"/.test(begin),
    inputs: { "--input_path": options.inputPath, "--model_path": folder },
  });
  await makeFolder(dirname(resolve(outputPath)));
  await using _lock = await RunLock.take(`${outputPath}.lock`, { what: "--output_path" });
  using tokenizer = await openTokenizerThread(folder);
  const prompts = await calibrationPrompts(options, { tokenizer, screen });
  const model = await modelDigest(folder);
  const sets = { device, forcedSet: await forcedSet(device) };
  const made = curveOptions(options, { plan, ...sets, processCount, model });
  const path = `${outputPath}.curves.jsonl`;
  if (options.overwrite === true) await removeFile(path);
  using file = await CurveFile.open(path, made);
  const processes = { device, processCount, replicas };
  await measure(prompts, { options, ...processes, announce, file, tokenizer, context });
  const all = prompts.map(({ sha256 }) => file.get(sha256)).filter((one) => one !== undefined);
  const { curves: pooled, worth } = poolMeasured(all);
  const steps = chooseSteps(all.map(({ curves }) => curves), options.goal, worth);
  const outcome = {
    before: keptBy(pooled, steps.map((heads) => heads.map(() => before))),
    after: keptBy(pooled, steps),
  };
  const { stride = PLAN_DEFAULTS.stride } = plan.selection ?? {};
  const sizes = { stride, rule, model, layerCount: config.layerCount };
  const number = thresholdOfStep(before, rule);
  const table = tableOf(steps, { ...sizes, lastThreshold: number });
  const threshold = thresholdRecord(rule === "share" ? { share: number } : number);
  await replaceFile(outputPath, [
    tableText({ ...table, ...factsOf(options, { made, threshold, worth, ...outcome }) }),
  ]);
  screen.print(outcomeText(outcome, { threshold, steps, rule }));
  if (worth !== undefined) {
    const { density } = meanKept(outcome.after.flat());
    for (const line of worthLines(worth, { goal: options.goal, density })) screen.log(line);
  }
  screen.log(`${outputPath}: ${rule}s of ${all.length} prompts`);
}

/** What is said of the layers, and of a density that they do not come to. */
function worthLines(
  worth: readonly number[],
  { goal, density }: { goal: Goal; density: number },
): string[] {
  const line = `Worth of the layers: ${rounded([worth]).join(" ")}`;
  if (goal.kind !== "density" || Math.abs(density - goal.density) <= 0.01) return [line];
  const tiles = `${density.toFixed(3)} of the tiles`;
  return [
    `Layers of no worth compute their diagonal alone, so that ${tiles} is as near as the others ` +
    `come to --density ${goal.density}`,
    line,
  ];
}

/**
 * How processes share the work: a context where they can, else the prompts, each process having a
 * copy of the model.
 */
function processesOf(
  options: CalibrateOptions,
  run: { plan: CheckedPlan; context: CommandContext },
): { processCount: number; replicas: number } {
  const { plan, context: { launchedRanks, screen } } = run;
  const { processCount, replicas = 1 } = options;
  if (launchedRanks !== undefined) {
    return { processCount: usableProcesses(plan, launchedRanks, { screen }), replicas };
  }
  if (sharesContext(plan)) return { processCount, replicas };
  return { processCount: 1, replicas: replicas * processCount };
}

/** The step of the threshold that is compared with. @throws {UsageError} If it is none. */
function checkBefore({ selection }: CheckedPlan, rule: TileRule): number {
  const { threshold = PLAN_DEFAULTS.threshold } = selection ?? {};
  const fail = (what: string) => {
    const found = isTable(threshold) ? "a table" : thresholdRecord(threshold);
    return new UsageError(`--threshold: must be ${what}: current value is ${found}`);
  };
  if (rule === "share" && (isTable(threshold) || typeof threshold === "number")) {
    throw fail("share:X with --rule share");
  }
  const multiple = `a multiple of ${thresholdOfStep(1, "threshold")}`;
  if (isTable(threshold)) throw fail(multiple);
  if (rule === "threshold" && typeof threshold !== "number") {
    throw fail(`${multiple} without --rule share`);
  }
  const step = nearestStep(numberOf(threshold), rule);
  const nearest = thresholdOfStep(step, rule);
  if (Math.abs(nearest - numberOf(threshold)) < 1e-9) return step;
  throw fail(rule === "share" ? `one of the steps, of which share:${nearest} is near` : multiple);
}

/** What curves are bound to. */
function curveOptions(
  options: CalibrateOptions,
  run: {
    plan: CheckedPlan;
    device: "cpu" | "cuda";
    forcedSet: InstructionSet | undefined;
    processCount: number;
    model: string;
  },
): CurveOptions {
  const { plan, device, forcedSet, processCount, model } = run;
  const { threshold: _threshold, merge: _merge, ...all } = planOptions(plan, {
    ...{ ...options, device, processCount, forcedSet },
  });
  const named = Object.entries(all).map(([name, value]) => [`--${name}`, value] as const);
  return {
    version: VERSION,
    "--model_path": model,
    ...Object.fromEntries(named) as CurveOptions,
    ...(options.rule === "share" ? { "--rule": options.rule } : {}),
    ...(options.by === "answers" ? { "--by": options.by } : {}),
  };
}

/** Runs the prompts that have no curves yet; curves are kept in the order of the prompts. */
async function measure(
  prompts: readonly CalibrationPrompt[],
  run: {
    options: CalibrateOptions;
    device: "cpu" | "cuda";
    processCount: number;
    replicas: number;
    announce: () => void;
    file: CurveFile;
    tokenizer: Awaited<ReturnType<typeof openTokenizerThread>>;
    context: CommandContext;
  },
): Promise<void> {
  const { options, device, processCount, announce, file, tokenizer, context } = run;
  const { screen, cleanup } = context;
  const left = prompts.filter(({ sha256 }) => file.get(sha256) === undefined);
  if (left.length < prompts.length) {
    screen.log(`${prompts.length - left.length} prompts are measured, continuing`);
  }
  if (left.length === 0) return;
  const { modelPath: folder, dtype: precision, threads, gpusPerRank, timeoutMs } = options;
  const { startTimeoutMs, copyWeights, ropeScaling, inputPath, lengths } = options;
  const replicas = Math.min(run.replicas, left.length);
  await using session = new ModelSession({
    folder,
    load: {
      ...{ ...options.plan, device, precision, threads, gpusPerRank, timeoutMs, startTimeoutMs },
      ...loadWeightOptions(options),
      ...{ copyWeights, ropeScaling, tokenizer, replicas },
      // No rows of steps are computed.
      rowsSet: "own",
      expectedTokens: inputPath === undefined ? Math.max(...lengths) : undefined,
    },
    screen,
    cleanup,
    announce,
    loadModel: context.loadModel ?? loadModel,
  });
  const model = await session.open({ processCount });
  await runInOrder(ReadableStream.from(left), {
    width: () => model.batchSize,
    run: async ({ name, context, query, answer }, { signal }) => {
      const isForAnswers = options.by === "answers";
      const limits = isForAnswers ? answer : { tokensToGenerate: 1 };
      const call = { ...limits, withCurves: true, signal };
      try {
        const made = await model.generate({ context, query, sample: name }, call);
        const prompt = { context, query, answer: made.ids };
        const { plan } = options;
        const effects = isForAnswers
          ? await measureEffects(model, prompt, { plan, sample: name, signal })
          : undefined;
        return { ...made, effects };
      } catch (error) {
        if (!(error instanceof RequestError)) throw error;
        throw new FileError(`${error.message} (${inputPath ?? name})`, { cause: error });
      }
    },
    take: async ({ name, sha256 }, { result: { curves }, effects, contextTokens, seconds }) => {
      invariant(curves !== undefined, "a mode that selects measures its tiles");
      await file.add(sha256, { curves, effects });
      screen.log(`${name}: ${contextTokens} tokens, ${seconds.toFixed(2)} s`);
    },
  });
}

function factsOf(
  { goal }: CalibrateOptions,
  run: {
    made: CurveOptions;
    threshold: number | string;
    worth: readonly number[] | undefined;
    before: Kept[][];
    after: Kept[][];
  },
) {
  const { made, worth, before, after } = run;
  const show = (all: Kept[][]) => ({
    density: rounded(all.map((heads) => heads.map(({ density }) => density))),
    kept: rounded(all.map((heads) => heads.map(({ kept }) => kept))),
  });
  const { version, "--model_path": _model, ...flags } = made;
  return {
    goal,
    made: { version, ...flags },
    ...(worth === undefined ? {} : { worth: rounded([worth])[0] }),
    // What stood before is one number for all heads.
    before: { threshold: run.threshold, ...show(before) },
    after: show(after),
  };
}

function rounded(rows: readonly (readonly number[])[]): number[][] {
  return rows.map((row) => row.map((value) => Number(value.toFixed(4))));
}

/** JSON with a line for each layer. */
function tableText(value: unknown): string {
  const text = JSON.stringify(value, null, 2);
  const flat = text.replace(
    /\[\n\s+([-\d.e,\s]+?)\n\s+\]/g,
    (_, numbers: string) => `[${numbers.replace(/\s+/g, " ")}]`,
  );
  return `${flat}\n`;
}

/** What is printed: by layer, before and after. */
function outcomeText(
  outcome: { before: Kept[][]; after: Kept[][] },
  run: { threshold: number | string; steps: HeadSteps; rule: TileRule },
): string {
  const number = (value: number) => value.toFixed(3);
  const row = (
    name: string,
    heads: { before: Kept[]; after: Kept[]; steps: readonly number[] },
  ) => {
    const [old, now] = [meanKept(heads.before), meanKept(heads.after)];
    const thresholds = heads.steps.map((step) => thresholdOfStep(step, run.rule));
    // Shares have two digits, wherever they begin.
    const shown = run.rule === "share" ? String : number;
    return [
      ...[name, shown(Math.min(...thresholds)), shown(Math.max(...thresholds))],
      ...[old.density, now.density, old.kept, now.kept].map(number),
    ];
  };
  const { threshold } = run;
  const header = [
    ...["layer", "lowest", "highest", `tiles at ${threshold}`, "tiles now"],
    ...[`kept at ${threshold}`, "kept now"],
  ];
  const rows = run.steps.map((steps, layer) =>
    row(String(layer), {
      before: outcome.before[layer] ?? [],
      after: outcome.after[layer] ?? [],
      steps,
    })
  );
  const mean = row("mean", {
    before: outcome.before.flat(),
    after: outcome.after.flat(),
    steps: run.steps.flat(),
  });
  return alignedTable([header, ...rows, mean]);
}
