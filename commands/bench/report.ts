/**
 * What a bench says of a mode: lines of a table for people, or lines of JSON.
 *
 * @module
 */
import { describeKeep } from "../../lib/attention/decode_keep.ts";
import { isFp8 } from "../../lib/model/fp8_weights.ts";
import { isEightBits } from "../../lib/model/precision.ts";
import { describeDtype } from "../shared/weights.ts";
import type { AttentionMode, CheckedPlan } from "../../lib/attention/plan.ts";
import { describeThreshold, thresholdRecord } from "../../lib/attention/thresholds.ts";
import {
  allWeights,
  elementCount,
  isTied,
  type ModelShape,
  productShapes,
  type WeightSpec,
} from "../../lib/model/model_shape.ts";
import { layOutBlocks, tokensIn } from "../../lib/star/blocks.ts";
import { type BenchOptions, precisionOf } from "./options.ts";
import { type DecodeTiming, median, type PrefillTiming, spread } from "./timings.ts";

/** All about one mode. */
export interface ModeReport {
  readonly mode: AttentionMode;
  readonly plan: CheckedPlan;
  readonly options: BenchOptions;
  readonly config: ModelShape;
  readonly device: string;
  /** Of each process. */
  readonly threads: number;
  readonly processCount: number;
  /** What carries the processes' parts. */
  readonly exchange: string;
  /** What is prefilled, for people. */
  readonly promptName: string;
  readonly prefill: readonly PrefillTiming[];
  readonly decode: readonly DecodeTiming[];
  /** Peak of a process, in MiB; NaN of a mode that was cut off. */
  readonly rssMib: number;
  /** Peak of what was allocated on the device, in MiB; NaN as above. */
  readonly deviceMib: number;
  /** Of a large copy, read and written bytes; NaN if it was not measured. */
  readonly copyGbPerS: number;
  /** Of a loop that only reads the weights, on the first process; NaN if it was not measured. */
  readonly readGbPerS: number;
}

/** `{"prefill":[{"n","s_min","s_med"}],"decode":[{"ctx","s_med"}],"rss_mib"}`. */
export function timesJson(report: ModeReport): string {
  return JSON.stringify({
    prefill: report.prefill.map(({ tokens, seconds }) => ({
      n: tokens,
      s_min: rounded(Math.min(...seconds), 6),
      s_med: rounded(median(seconds), 6),
    })),
    decode: report.decode.map(({ context, batch, seconds, sampleSeconds }) => ({
      ctx: context,
      s_med: rounded(seconds, 6),
      ...(batch === 1 ? {} : { batch, s_sample: rounded(sampleSeconds, 6) }),
    })),
    rss_mib: rounded(report.rssMib, 1),
  });
}

/** One line of JSON with everything that is not in the line of times. */
export function detailsJson(report: ModeReport): string {
  const { options, plan: { cut, selection, decodeKeep }, mode } = report;
  return JSON.stringify({
    mode,
    model: modelName(options),
    prompt: report.promptName,
    device: report.device,
    dtype: describeDtype(options),
    threads: report.threads,
    ranks: report.processCount,
    ...(report.processCount > 1 ? { exchange: report.exchange } : {}),
    ...(cut.kind === "blocks"
      ? { block_size: cut.blockTokens, anchor_block_size: cut.anchorTokens }
      : {}),
    ...(selection === undefined ? {} : {
      stride: selection.stride,
      threshold: thresholdRecord(selection.threshold),
      ...(selection.rest === undefined ? {} : { rest: selection.rest }),
      forced_density: options.density ?? null,
    }),
    ...(decodeKeep === undefined ? {} : { decode_keep: describeKeep(decodeKeep) }),
    prefill: report.prefill.map((timing) => {
      const { tokens, costs, density } = timing;
      const { tokensPerS, tflops } = prefillRates(timing);
      return {
        n: tokens,
        seconds: timing.seconds.map((value) => rounded(value, 6)),
        s_spread: rounded(spread(timing.seconds), 6),
        tokens_per_s: rounded(tokensPerS, 1),
        tflops: rounded(tflops, 3),
        density: rounded(density, 4),
        matmul_s: rounded(costs.matmulS, 6),
        attention_s: rounded(costs.attentionS, 6),
        selection_s: rounded(costs.selectionS, 6),
        rest_s: rounded(restSeconds(timing), 6),
        matmul_tflops: rounded(costs.matmulFlops / costs.matmulS / 1e12, 3),
        attention_tflops: rounded(costs.attentionFlops / costs.attentionS / 1e12, 3),
      };
    }),
    decode: report.decode.map((timing) => ({
      ctx: timing.context,
      batch: timing.batch,
      tokens_per_s: rounded(timing.batch / timing.seconds, 2),
      ms_per_step: rounded(1000 * timing.seconds, 4),
      ms_spread: rounded(1000 * timing.spread, 4),
      s_per_sample: rounded(timing.sampleSeconds, 6),
      gb_per_s: rounded(decodeRate(report, timing), 1),
    })),
    read_gb_per_s: rounded(report.readGbPerS, 1),
    copy_gb_per_s: rounded(report.copyGbPerS, 1),
    device_mib: rounded(report.deviceMib, 1),
  });
}

/** What stands above a mode's lines. */
export function headText(report: ModeReport): string {
  const { options, mode, plan: { cut, selection, decodeKeep } } = report;
  const kept = decodeKeep === undefined ? "" : `, decode_keep ${describeKeep(decodeKeep)}`;
  const blocks = cut.kind === "blocks"
    ? `, block ${cut.blockTokens}, anchor ${cut.anchorTokens}`
    : "";
  const sparse = selection !== undefined
    ? `, stride ${selection.stride}, ${
      options.density === undefined
        ? describeThreshold(selection.threshold)
        : `forced density ${options.density}`
    }${selection.rest === "mean" ? ", the rest's mean" : ""}`
    : "";
  const { processCount: ranks, exchange } = report;
  const shared = ranks > 1 ? `, ${ranks} processes over ${exchange}` : "";
  return `${modelName(options)}, ${report.device}${shared}, ${
    describeDtype(options)
  }, ${mode}${blocks}${sparse}${kept}\n` +
    `prompt: ${report.promptName}; ± is the standard deviation\n`;
}

/** The header of the prefills. */
export const PREFILL_HEADER = `${
  row(["prefill", "s (min)", "s (med)", "±", "tokens/s", "TFLOP/s", "density"], [
    "matmul s",
    "attention s",
    "selection s",
    "rest s",
  ])
}\n`;

/** A prefill's line. */
export function prefillText(timing: PrefillTiming): string {
  const { tokens, seconds, costs, density } = timing;
  const { tokensPerS, tflops } = prefillRates(timing);
  const parts = [costs.matmulS, costs.attentionS, costs.selectionS, restSeconds(timing)];
  const cells = [
    String(tokens),
    Math.min(...seconds).toFixed(3),
    median(seconds).toFixed(3),
    spreadText(spread(seconds)),
    tokensPerS.toFixed(1),
    tflops.toFixed(3),
    density.toFixed(3),
  ];
  return `${row(cells, parts.map((part) => part.toFixed(3)))}\n`;
}

/** The header of decoding. */
export const DECODE_HEADER = `${
  row(["decode at", "ms/step", "±", "tokens/s", "GB/s"], ["at once", "s/sample"])
}\n`;

/** A line of decoding. */
export function decodeText(report: ModeReport, timing: DecodeTiming): string {
  const cells = [
    String(timing.context),
    (timing.seconds * 1000).toFixed(3),
    spreadText(timing.spread * 1000),
    (timing.batch / timing.seconds).toFixed(2),
    decodeRate(report, timing).toFixed(1),
  ];
  return `${row(cells, [String(timing.batch), timing.sampleSeconds.toFixed(3)])}\n`;
}

/** What stands below a mode's lines. */
export function memoryText(report: ModeReport): string {
  const memory = `peak memory: ${report.rssMib.toFixed(0)} MiB resident, ` +
    `${report.deviceMib.toFixed(0)} MiB allocated on the device\n`;
  if (Number.isNaN(report.copyGbPerS)) return `${memory}\n`;
  const weights = Number.isNaN(report.readGbPerS)
    ? ""
    : `a loop that does nothing else reads the weights at ${report.readGbPerS.toFixed(1)} GB/s, `;
  return `${memory}${weights}a large copy reads and writes ${
    report.copyGbPerS.toFixed(1)
  } GB/s\n\n`;
}

function spreadText(value: number): string {
  return Number.isNaN(value) ? "-" : value.toFixed(3);
}

function row(numbers: readonly string[], parts: readonly string[]): string {
  return [...numbers.map((text) => text.padStart(10)), ...parts.map((text) => text.padStart(12))]
    .join("");
}

/** By the median. */
export function prefillRates(timing: PrefillTiming): { tokensPerS: number; tflops: number } {
  const seconds = median(timing.seconds);
  const { matmulFlops, attentionFlops } = timing.costs;
  return {
    tokensPerS: timing.tokens / seconds,
    tflops: (matmulFlops + attentionFlops) / seconds / 1e12,
  };
}

/** What matrix products, attention and selection leave of a run. */
export function restSeconds({ seconds, costs }: PrefillTiming): number {
  const named = costs.matmulS + costs.attentionS + costs.selectionS;
  return Math.max(costs.otherS, (seconds.at(-1) ?? 0) - named);
}

/**
 * Bytes of weights and caches that a step reads on one process, per nanosecond; NaN where phase 2
 * chooses its keys, as how many bytes those are is not counted.
 */
export function decodeRate(report: ModeReport, timing: DecodeTiming): number {
  const { config, options } = report;
  if (report.plan.decodeKeep !== undefined) return NaN;
  const precision = precisionOf(config, options);
  const rounded = new Set(
    config.layers.flatMap(productShapes).filter((product) =>
      precision.weights === "int8" || isFp8(product, { config, precision })
    ).flatMap(({ weights }) => weights),
  );
  if (isEightBits(precision.head)) rounded.add(config.head);
  const bytesOf = (spec: WeightSpec): number => elementCount(spec) * (rounded.has(spec) ? 1 : 2);
  const bytes = allWeights(config)
    .filter((spec) => spec.name !== config.embedding.name || isTied(config))
    .reduce((sum, spec) => sum + bytesOf(spec), 0);
  const { layerCount, kvHeads, headDim } = config;
  const { blocksByRank } = layOutBlocks(report.plan, {
    contextTokens: timing.context,
    ranks: report.processCount,
  });
  const tokens = Math.max(...blocksByRank.map(tokensIn)) + options.decodeTokens / 2;
  const cache = 2 * layerCount * kvHeads * headDim * tokens * (options.dtype === "f32" ? 4 : 2);
  return (bytes + timing.batch * cache) / timing.seconds / 1e9;
}

/** What the model is called. */
export function modelName({ model }: BenchOptions): string {
  return model.kind === "folder" ? model.folder : `${model.name} (random weights)`;
}

/** With so many digits; null of what is no number. */
export function rounded(value: number, digits: number): number | null {
  return Number.isFinite(value) ? Number(value.toFixed(digits)) : null;
}
