/**
 * Runs reference prompts in every attention mode and shows how far a device is from the reference:
 * greedy ids and the first logits, with the CPU's figures in bf16 beside them.
 *
 * The file is that of `tests/golden/attention.json`: prompts, their ids, and per mode what an
 * independent float32 implementation gives.
 *
 * @module
 */
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import {
  type AttentionMode,
  type CheckedPlan,
  checkPlan,
  mergeOf,
  sharesContext,
} from "../lib/attention/plan.ts";
import { BATCH_RANGE } from "../lib/engine/batch_size.ts";
import { chooseDevice, type DeviceKind } from "../lib/device/open.ts";
import { errorText, EXIT_CODES, UsageError } from "../lib/errors.ts";
import { PRECISIONS } from "../lib/model/precision.ts";
import { openEngine } from "../lib/engine/engine.ts";

const HELP = `Compares a device with reference values.

Usage: deno run -A scripts/check_reference.ts [flags]

  --device NAME   auto, cpu or cuda (default auto)
  --golden FILE   default tests/golden/attention.json
  --prompts N     only the first N prompts (default: all)
  --ranks A,B     numbers of processes (default: 1, 2 and the reference's own); the ring's modes,
                  which compute what dense and xattn do, run on 2 and more
  --batch N       runs each prompt in the company of others, N at once, in the midst of them
                  (default 1)
  --alone         does not run the CPU beside
`;

/** Greedy ids that bf16 must reproduce: where nothing is selected. */
const EXACT_MODES: readonly string[] = ["dense", "star", "ring"];
/** Of the reference's 24 logits, the last may change places with the next one. */
const COMPARED_LOGITS = 20;
const THREADS = 2;

/** What the reference says of a mode. */
interface ReferenceMode {
  readonly first_logits_top24: readonly (readonly [number, number])[];
  readonly greedy_ids: readonly number[];
}

/** A prompt of the reference. */
interface ReferencePrompt {
  readonly task: string;
  readonly context_ids: readonly number[];
  readonly query_ids: readonly number[];
  readonly block_size: number;
  readonly anchor_block_size: number;
  readonly ranks: number;
  readonly modes: Readonly<Record<string, ReferenceMode>>;
}

/** How far a run is from the reference. */
interface Distance {
  /** Ids before the first that differs. */
  readonly equalIds: number;
  /** The largest difference of a logit. */
  readonly logitError: number;
  /** Device and exchange. */
  readonly device: string;
}

/** What to compare. */
interface Comparison {
  readonly kind: DeviceKind;
  /** Numbers of processes; undefined for the usual ones. */
  readonly ranks: readonly number[] | undefined;
  /** Whether the CPU runs beside. */
  readonly withCpu: boolean;
  /** Prompts at once. */
  readonly batch: number;
}

if (import.meta.main) Deno.exit(await main());

async function main(): Promise<number> {
  try {
    const { values } = parseArgs({
      options: {
        device: { type: "string", default: "auto" },
        golden: { type: "string" },
        prompts: { type: "string", default: "1000" },
        ranks: { type: "string" },
        batch: { type: "string", default: "1" },
        alone: { type: "boolean", default: false },
        help: { type: "boolean", short: "h" },
      },
    });
    if (values.help === true) {
      write(HELP);
      return EXIT_CODES.done;
    }
    const { device } = values;
    const ranks = values.ranks?.split(",").map(Number);
    const batch = Number(values.batch);
    if (!Number.isInteger(batch) || batch < BATCH_RANGE.min || batch > BATCH_RANGE.max) {
      const { min, max } = BATCH_RANGE;
      throw new UsageError(
        `--batch: must be a whole number from ${min} to ${max}: current value is '${values.batch}'`,
      );
    }
    if (device !== "auto" && device !== "cpu" && device !== "cuda") {
      throw new UsageError(`--device: must be auto, cpu or cuda: current value is '${device}'`);
    }
    const golden = values.golden ??
      fileURLToPath(new URL("../tests/golden/attention.json", import.meta.url));
    const { kind } = await chooseDevice(device, { dtype: "bf16" });
    const prompts = JSON.parse(await Deno.readTextFile(golden)) as readonly ReferencePrompt[];
    const comparison = { kind, ranks, withCpu: kind === "cuda" && !values.alone, batch };
    const faults = await compare(prompts.slice(0, Number(values.prompts)), comparison);
    write(`${faults} of the exact modes differ\n`);
    return faults === 0 ? EXIT_CODES.done : EXIT_CODES.bug;
  } catch (error) {
    await Deno.stderr.write(new TextEncoder().encode(`check_reference: ${errorText(error)}\n`));
    return error instanceof UsageError ? EXIT_CODES.usage : EXIT_CODES.device;
  }
}

/** Prints a row per prompt, mode and number of processes. @returns How many rows are wrong. */
async function compare(
  prompts: readonly ReferencePrompt[],
  comparison: Comparison,
): Promise<number> {
  let faults = 0;
  const devices = new Set<string>();
  write(`${row(["prompt", "mode", "ranks", "ids", "logit error", "CPU ids", "CPU error"])}\n`);
  for (const prompt of prompts) {
    for (const [name, mode] of modesOf(prompt)) {
      const plan = planOf(name, prompt);
      if (plan === undefined) continue;
      for (const ranks of rankNumbers(plan, { prompt, given: comparison.ranks })) {
        const { kind, withCpu, batch } = comparison;
        const company = companyOf(prompt, { prompts, batch });
        const run = { prompt, mode, plan, ranks, company };
        const found = await distance({ ...run, kind });
        const beside = withCpu ? await distance({ ...run, kind: "cpu" }) : undefined;
        devices.add(found.device);
        const total = mode.greedy_ids.length;
        const isWrong = EXACT_MODES.includes(name) && found.equalIds < total;
        if (isWrong) faults++;
        write(`${
          row([
            prompt.task,
            name,
            String(ranks),
            `${found.equalIds}/${total}`,
            found.logitError.toFixed(4),
            beside === undefined ? "" : `${beside.equalIds}/${total}`,
            beside === undefined ? "" : beside.logitError.toFixed(4),
          ])
        }${isWrong ? "  differs" : ""}\n`);
      }
    }
  }
  for (const device of devices) write(`on ${device}\n`);
  return faults;
}

/** The prompts that are run with one, the next ones of the file; as many as a batch has places. */
function companyOf(
  prompt: ReferencePrompt,
  options: { prompts: readonly ReferencePrompt[]; batch: number },
): ReferencePrompt[] {
  const { prompts, batch } = options;
  const place = prompts.indexOf(prompt);
  return Array.from({ length: batch - 1 }, (_, i) => prompts[(place + i) % prompts.length])
    .flatMap((other) => other ?? []);
}

/** The reference's modes, and the ring's, which compute what dense and xattn do. */
function modesOf(prompt: ReferencePrompt): (readonly [string, ReferenceMode])[] {
  const { dense, "xattn_S16_t0.9": xattn } = prompt.modes;
  const ring = dense === undefined ? [] : [["ring", dense] as const];
  const ringx = xattn === undefined ? [] : [["ringx_S16_t0.9", xattn] as const];
  return [...Object.entries(prompt.modes), ...ring, ...ringx];
}

function rankNumbers(
  plan: CheckedPlan,
  options: { prompt: ReferencePrompt; given: readonly number[] | undefined },
): number[] {
  const { prompt, given } = options;
  if (!sharesContext(plan)) return [1];
  const numbers = [...new Set(given ?? [1, 2, prompt.ranks])];
  if (plan.cut.kind === "parts") return numbers.filter((ranks) => ranks > 1);
  // The reference of this merge is that of its own number of ranks.
  return mergeOf(plan) === "antidiagonal"
    ? numbers.filter((ranks) => ranks === prompt.ranks)
    : numbers;
}

async function distance(
  options: {
    prompt: ReferencePrompt;
    mode: ReferenceMode;
    plan: CheckedPlan;
    kind: DeviceKind;
    ranks: number;
    /** What runs at the same time. */
    company: readonly ReferencePrompt[];
  },
): Promise<Distance> {
  const { prompt, mode, plan, kind: device, ranks: processCount, company } = options;
  await using engine = await openEngine({
    modelFolder: fileURLToPath(new URL("../models/starx-tiny", import.meta.url)),
    plan,
    device,
    precision: PRECISIONS.bf16,
    threads: THREADS,
    processCount,
    timeoutMs: 60_000,
    batchSize: company.length + 1,
  });
  const generate = ({ task: sample, context_ids, query_ids }: ReferencePrompt) =>
    engine.generate({
      sample,
      contextIds: Int32Array.from(context_ids),
      queryIds: Int32Array.from(query_ids),
      tokensToGenerate: mode.greedy_ids.length,
      stopIds: [],
      topLogits: 64,
    });
  // Some begin before it, some behind it.
  const before = company.slice(0, Math.ceil(company.length / 2)).map(generate);
  const asked = generate(prompt);
  const behind = company.slice(before.length).map(generate);
  const [result] = await Promise.all([asked, ...before, ...behind]);
  const differing = mode.greedy_ids.findIndex((id, i) => id !== result.ids[i]);
  const logits = new Map(result.topLogits);
  const errors = mode.first_logits_top24.slice(0, COMPARED_LOGITS).map(([id, logit]) =>
    Math.abs((logits.get(id) ?? Infinity) - logit)
  );
  return {
    equalIds: differing < 0 ? mode.greedy_ids.length : differing,
    logitError: Math.max(...errors),
    device: engine.deviceDescription,
  };
}

/** The plan behind a mode's name; undefined where the prompt's blocks do not allow it. */
function planOf(name: string, prompt: ReferencePrompt): CheckedPlan | undefined {
  const [, mode = "", suffix = ""] = /^(dense|xattn|starx|star|ringx|ring)_?(.*)$/.exec(name) ?? [];
  const stride = Number(/S(\d+)/.exec(suffix)?.[1] ?? 16);
  const threshold = Number(/t([\d.]+)/.exec(suffix)?.[1] ?? 0.9);
  const merge = suffix.startsWith("seedweights") ? "antidiagonal" : "lse";
  const { block_size: blockTokens, anchor_block_size: anchorTokens } = prompt;
  try {
    return checkPlan({
      mode: mode as AttentionMode,
      blockTokens,
      anchorTokens,
      stride,
      threshold,
      merge,
    });
  } catch (error) {
    if (error instanceof UsageError) return undefined;
    throw error;
  }
}

function row(cells: readonly string[]): string {
  const widths = [18, 22, 6, 8, 12, 9, 11];
  return cells.map((cell, i) => i < 2 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0))
    .join("");
}

function write(text: string): void {
  Deno.stdout.writeSync(new TextEncoder().encode(text));
}
