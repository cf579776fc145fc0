/**
 * Whether a model fits on this machine, up to how many tokens, and in which modes.
 *
 * @module
 */
import { type AttentionMode, checkPlan, usedRanks } from "../../lib/attention/plan.ts";
import { TILE_TOKENS } from "../../lib/ffi/symbols.ts";
import type { CudaDescription } from "../../lib/device/cuda_description.ts";
import { capabilityText, FP8_CAPABILITY } from "../../lib/device/cuda.ts";
import { DEVICE_TRAITS } from "../../lib/device/device.ts";
import { hostMemory } from "../../lib/device/host_memory.ts";
import { longestContext, longestGpuContext } from "../../lib/engine/host_plan.ts";
import { precisionFor } from "../../lib/engine/options.ts";
import { gpusOf } from "../../lib/engine/rank_device.ts";
import { DeviceError } from "../../lib/errors.ts";
import type { ModelShape } from "../../lib/model/model_shape.ts";
import {
  type ComputeDType,
  isEightBits,
  type Precision,
  PRECISIONS,
} from "../../lib/model/precision.ts";
import type { WeightOptions } from "../shared/weights.ts";
import { type Finding, INDENT } from "./finding.ts";

/** What is to run. */
export interface RunWish extends WeightOptions {
  /** Tokens of prompt and answer; none asks what fits. */
  readonly lengths: readonly number[];
  readonly modes: readonly AttentionMode[];
  /** Undefined for {@linkcode USUAL_BLOCK}, or a quarter of the model's positions. */
  readonly blockTokens: number | undefined;
  /** The name of a prompt template. */
  readonly template: string | undefined;
  readonly dtype: ComputeDType;
  /** Processes of this machine that share the context. */
  readonly processCount: number;
}

/** What is asked, and of what. */
interface FitQuestion {
  readonly config: ModelShape;
  readonly weightBytes: number;
  /** Bytes of weights that each process converts on a CPU. */
  readonly convertedBytes: number;
  readonly run: RunWish;
  readonly cuda: CudaDescription;
}

/** How long a run may be in a mode. */
interface ModeFit {
  readonly mode: AttentionMode;
  /** Tokens of prompt and answer; 0 if nothing fits. */
  readonly tokens: number;
  /** Processes that the mode uses. */
  readonly processCount: number;
  /** Of a process. */
  readonly gpuCount?: number;
}

/** Tokens per block where nobody says. */
const USUAL_BLOCK = 4096;
/** Tokens of query and answer that are counted. */
const ROOM = 256;
const GIB = 2 ** 30;

/** A finding for the CPU and, where there are some, for the GPUs. */
export function lookAtFit(question: FitQuestion): Finding[] {
  const { run, run: { lengths }, cuda, config } = question;
  const [host, gpus] = [hostFits(question), gpuFits(question)];
  const findings = [finding("CPU fit", host, question)];
  const { activations, weights, head, cache } = precisionOf(config, run);
  const { weightKinds, cacheKinds } = DEVICE_TRAITS.cuda;
  const needsFp8 = [weights, head].includes("fp8");
  const hasFp8 = cuda.gpus.every(({ capability }) => capability === capabilityText(FP8_CAPABILITY));
  const isTaken = (hasFp8 || !needsFp8) && activations === "bf16" &&
    weightKinds.includes(head ?? weights) &&
    weightKinds.includes(weights) && cacheKinds.includes(cache);
  const isUsable = cuda.problem === undefined && cuda.gpus.length > 0 && isTaken;
  if (isUsable) findings.push(finding("GPU fit", gpus, question));
  const all = [...host, ...isUsable ? gpus : []];
  const tooLong = lengths.filter((length) => all.every(({ tokens }) => tokens < length));
  const [shortest] = tooLong.toSorted((a, b) => a - b);
  if (shortest === undefined) return findings;
  const error = new DeviceError(
    `Cannot run ${shortest} tokens here in any of these modes: at most ` +
      `${Math.max(...all.map(({ tokens }) => tokens))} tokens fit`,
  );
  return findings.map((finding, i) => i === 0 ? { ...finding, error } : finding);
}

/** What the run's numbers are rounded to. */
export function precisionOf(config: ModelShape, run: RunWish): Precision {
  return precisionFor(config, { precision: PRECISIONS[run.dtype], wish: run });
}

function finding(name: string, fits: readonly ModeFit[], question: FitQuestion): Finding {
  const { config: { maxPositions }, run, weightBytes } = question;
  const block = blockOf(question);
  const isHost = name.startsWith("CPU");
  const lines = fits.map(({ mode, tokens, processCount, gpuCount = 0 }) => {
    const all = tokens >= maxPositions ? `all ${maxPositions} positions` : `up to ${tokens} tokens`;
    const what = tokens === 0 ? "does not fit" : all;
    const facts = [
      ...(mode.startsWith("star") ? [`-bs ${block}`] : []),
      ...(processCount > 1 ? [`${processCount} processes`] : []),
      ...(gpuCount > 1 ? [`layers over ${gpuCount} GPUs`] : []),
    ];
    const fitting = run.lengths.map((length) => `${length} ${tokens >= length ? "yes" : "no"}`);
    return [
      `${mode.padEnd(6)} ${what}${facts.length === 0 ? "" : ` (${facts.join(", ")})`}`,
      ...(fitting.length === 0 ? [] : [fitting.join(", ")]),
    ].join(": ");
  });
  const { weights, head, cache } = precisionOf(question.config, run);
  const kinds = [
    ...(isEightBits(weights) ? [`weights in ${weights}`] : []),
    ...(isEightBits(head) ? [`head in ${head}`] : []),
    ...(isEightBits(cache) ? [`keys and values in ${cache}`] : []),
  ];
  const text = [...kinds.length === 0 ? [] : [kinds.join(", ")], ...lines].join(`\n${INDENT}`);
  const remedies = [
    ...(run.lengths.some((length) => length > maxPositions)
      ? [`beyond ${maxPositions} positions (max_position_embeddings) only --rope_scaling leads`]
      : []),
    ...(fits.some(({ tokens }) => run.lengths.some((n) => n > tokens && n <= maxPositions))
      ? ["the modes that say yes, smaller blocks (-bs), or a machine with more memory"]
      : []),
    ...(isHost && weightBytes > (hostMemory()?.availableBytes ?? Infinity)
      ? [
        `the weights take ${(weightBytes / GIB).toFixed(1)} GiB, more than is available: they ` +
        "would be read from the disk again and again",
      ]
      : []),
  ];
  return { name, text, ...(remedies.length === 0 ? {} : { remedy: remedies.join("; ") }) };
}

function blockOf({ config, run }: FitQuestion): number {
  if (run.blockTokens !== undefined) return run.blockTokens;
  const quarter = Math.floor(config.maxPositions / 4 / TILE_TOKENS) * TILE_TOKENS;
  return Math.max(TILE_TOKENS, Math.min(USUAL_BLOCK, quarter));
}

/** What all modes are asked alike. */
function modeQuestions(question: FitQuestion) {
  const { config, run } = question;
  return run.modes.map((mode) => {
    const plan = checkPlan({ mode, blockTokens: blockOf(question) });
    const processCount = usedRanks(plan, { ranks: run.processCount });
    return { mode, plan, processCount, config, precision: precisionOf(config, run), room: ROOM };
  });
}

/** A context and what is asked about it; without a context nothing runs. */
function whole(contextTokens: number): number {
  return contextTokens === 0 ? 0 : contextTokens + ROOM;
}

function hostFits(question: FitQuestion): ModeFit[] {
  const { convertedBytes } = question;
  const maxTokens = Math.max(1, question.config.maxPositions - ROOM);
  return modeQuestions(question).map(({ mode, ...of }) => {
    const tokens = longestContext({ ...of, contextTokens: 0, convertedBytes }, { maxTokens });
    return { mode, processCount: of.processCount, tokens: whole(tokens) };
  });
}

function gpuFits(question: FitQuestion): ModeFit[] {
  const { config, cuda: { gpus } } = question;
  const maxTokens = Math.max(1, config.maxPositions - ROOM);
  return modeQuestions(question).map(({ mode, ...of }) => {
    const { processCount } = of;
    const dealt = gpusOf({ index: 0, count: processCount }, gpus.length);
    // More processes than GPUs share them.
    const sharers = Math.max(1, Math.ceil(processCount / Math.max(1, gpus.length)));
    const freeBytes = dealt.slice(0, config.layerCount).map((gpu) =>
      (gpus[gpu]?.freeBytes ?? 0) / sharers
    );
    const found = longestGpuContext({ ...of, freeBytes }, { maxTokens });
    return { mode, processCount, tokens: whole(found.tokens), gpuCount: found.gpuCount };
  });
}
