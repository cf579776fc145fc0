/**
 * What a run on the CPU needs of this machine's memory: refused before the system ends a process
 * without a word.
 *
 * @module
 */
import type { CheckedPlan } from "../attention/plan.ts";
import { DEVICE_TRAITS } from "../device/device.ts";
import { hostMemory } from "../device/host_memory.ts";
import type { ModelShape } from "../model/model_shape.ts";
import type { Precision } from "../model/precision.ts";
import { checkMemory, fitsOn } from "./memory_check.ts";
import { chunkTokensFor } from "./memory_plan.ts";

/** A run on the CPU. */
export interface HostQuestion {
  readonly config: ModelShape;
  readonly precision: Precision;
  readonly plan: CheckedPlan;
  /** Processes on this machine, each with a part of the blocks. */
  readonly processCount: number;
  readonly contextTokens: number;
  /** Tokens of query and answer. */
  readonly room: number;
  /** As in `MemoryQuestion`. @default {false} */
  readonly withCurves?: boolean | undefined;
  /** Whether each process reads the weights into memory of its own. */
  readonly copyWeights?: boolean | undefined;
  /** As `convertedWeightBytes()` has them. @default {0} */
  readonly convertedBytes?: number | undefined;
  /**
   * What the processes may use together, in bytes.
   *
   * @default {number} What is available now.
   */
  readonly availableBytes?: number | undefined;
}

const CPU = { ...DEVICE_TRAITS.cpu, description: "the CPU" } as const;

/**
 * Refuses a run that this machine's memory does not hold.
 *
 * Mapped weights do not count: what is not in memory is read again, slowly. Those that each process
 * converts do.
 *
 * @throws {DeviceError} With what is needed and available, and what would fit.
 */
export function checkHostMemory(question: HostQuestion): void {
  const { processCount } = question;
  const availableBytes = question.availableBytes ?? hostMemory()?.availableBytes;
  if (availableBytes === undefined) return;
  const freeBytes = [availableBytes / processCount];
  checkMemory([CPU], { question: memoryQuestion(question), freeBytes, loaded: false });
}

/** The longest context, in tokens, that fits up to a limit; 0 if none does. */
export function longestContext(question: HostQuestion, options: { maxTokens: number }): number {
  const availableBytes = question.availableBytes ?? hostMemory()?.availableBytes ?? Infinity;
  const freeBytes = [availableBytes / question.processCount];
  return longestOf(
    options.maxTokens,
    (contextTokens) =>
      fitsOn([CPU], { question: memoryQuestion({ ...question, contextTokens }), freeBytes }),
  );
}

/** A run on GPUs. */
export interface GpuQuestion
  extends Pick<HostQuestion, "config" | "precision" | "plan" | "processCount" | "room"> {
  /** What a process may use of each of its GPUs, which the layers are spread over as need be. */
  readonly freeBytes: readonly number[];
}

/** As {@linkcode longestContext}, on the GPUs of a process; `gpuCount`: the fewest that hold it. */
export function longestGpuContext(
  question: GpuQuestion,
  options: { maxTokens: number },
): { tokens: number; gpuCount: number } {
  const { freeBytes, processCount: ranks, ...rest } = question;
  const fits = (contextTokens: number, gpuCount: number): boolean =>
    fitsOn(Array.from({ length: gpuCount }, () => DEVICE_TRAITS.cuda), {
      question: { ...rest, ranks, contextTokens },
      freeBytes: freeBytes.slice(0, gpuCount),
    });
  const counts = Array.from({ length: freeBytes.length }, (_, i) => i + 1);
  const fitsSomehow = (tokens: number) => counts.some((count) => fits(tokens, count));
  const tokens = longestOf(options.maxTokens, fitsSomehow);
  return { tokens, gpuCount: counts.find((count) => fits(tokens, count)) ?? counts.length };
}

/** The largest number up to a limit that passes; 0 if none does. */
function longestOf(limit: number, passes: (tokens: number) => boolean): number {
  let [low, high] = [0, limit];
  if (passes(high)) return high;
  while (high - low > 1) {
    const middle = Math.floor((low + high) / 2);
    if (passes(middle)) low = middle;
    else high = middle;
  }
  return low;
}

function memoryQuestion(
  question: HostQuestion,
): Parameters<typeof checkMemory>[1]["question"] {
  const { config, precision, plan, contextTokens, room, processCount: ranks } = question;
  const chunkTokens = chunkTokensFor(CPU, { config, precision, freeBytes: undefined });
  const { convertedBytes, withCurves } = question;
  const rest = { mapsWeights: question.copyWeights !== true, convertedBytes, withCurves };
  return { config, precision, plan, contextTokens, room, ranks, chunkTokens, ...rest };
}
