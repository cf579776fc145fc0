/**
 * Engines and requests on the model of the repository, with the reference's prompts.
 *
 * @module
 */
import { PRECISIONS } from "../../lib/model/precision.ts";
import { openEngine } from "../../lib/engine/engine.ts";
import { checkPlan, type PlanOptions } from "../../lib/attention/plan.ts";
import type { Engine, GenerateRequest } from "../../lib/star/request.ts";
import { goldenEntries } from "./golden.ts";

/** The folder of the model. */
export const MODEL = new URL("../../models/starx-tiny", import.meta.url).pathname;

/** Star Attention with blocks of 256 tokens. */
export const STAR = {
  mode: "star",
  blockTokens: 256,
  anchorTokens: 256,
  stride: 16,
  threshold: 0.95,
  merge: "lse",
} as const satisfies PlanOptions;

/** An engine with one thread per process. */
export function openTiny(
  options: {
    plan: PlanOptions;
    processCount: number;
    dtype?: "f32" | "bf16";
    device?: "cpu" | "cuda";
    timeoutMs?: number;
    batchSize?: number;
  },
): Promise<Engine> {
  const { plan, processCount, device = "cpu", dtype = "bf16", timeoutMs = 60_000 } = options;
  const { batchSize } = options;
  return openEngine({
    modelFolder: MODEL,
    plan: checkPlan(plan),
    device,
    precision: PRECISIONS[dtype],
    threads: 1,
    processCount,
    timeoutMs,
    batchSize,
  });
}

/** A request made of a reference prompt. `repeat` takes the context several times in a row. */
export async function goldenRequest(
  options: { task: string; repeat?: number; tokensToGenerate?: number },
): Promise<GenerateRequest> {
  const { task, repeat = 1, tokensToGenerate = 12 } = options;
  const entry = (await goldenEntries()).find((entry) => entry.task === task);
  if (entry === undefined) throw new TypeError(`No reference prompt is called ${task}`);
  const context = Array.from({ length: repeat }, () => entry.context_ids).flat();
  return {
    sample: task,
    contextIds: Int32Array.from(context),
    queryIds: Int32Array.from(entry.query_ids),
    tokensToGenerate,
    stopIds: [],
    topLogits: 24,
  };
}
