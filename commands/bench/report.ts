/**
 * What a bench prints: a table for people, or lines of JSON.
 *
 * @module
 */
import type { AttentionMode, CheckedPlan } from "../../lib/attention/plan.ts";
import { allWeights, isTied, type ModelShape } from "../../lib/model/model_shape.ts";
import { layOutBlocks, tokensIn } from "../../lib/star/blocks.ts";
import type { BenchOptions } from "./options.ts";
import type { CostSplit } from "./split.ts";

/** The runs of one length. */
export interface PrefillTiming {
  readonly tokens: number;
  /** One number per run; that of the slowest process. */
  readonly seconds: readonly number[];
  /** Of the last run, on the process whose ops took longest. */
  readonly costs: CostSplit;
  /** Share of the causal tiles that was computed; 1 in dense modes. */
  readonly density: number;
}

/** Decoding after a context. */
export interface DecodeTiming {
  readonly context: number;
  /** Sequences that were decoded together. */
  readonly batch: number;
  /** Of a step, which gives each sequence a token: the median. */
  readonly seconds: number;
  /** Of a sequence from its empty context to its last token: the batch's time shared out. */
  readonly sampleSeconds: number;
}

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
  readonly prefill: readonly PrefillTiming[];
  readonly decode: readonly DecodeTiming[];
  /** Peak of a process, in MiB. */
  readonly rssMib: number;
  /** Peak of what was allocated on the device, in MiB. */
  readonly deviceMib: number;
  /** Of a large copy, read and written bytes; NaN if it was not measured. */
  readonly copyGbPerS: number;
}

/** The middle value; the mean of the two middle ones. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const half = Math.floor(sorted.length / 2);
  const [low = NaN, high = NaN] = [sorted[half - 1], sorted[half]];
  return sorted.length % 2 === 1 ? high : (low + high) / 2;
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
  const { options, plan: { cut, selection }, mode } = report;
  return JSON.stringify({
    mode,
    model: modelName(options),
    device: report.device,
    dtype: options.dtype,
    threads: report.threads,
    ranks: report.processCount,
    ...(report.processCount > 1 ? { exchange: report.exchange } : {}),
    ...(cut.kind === "blocks"
      ? { block_size: cut.blockTokens, anchor_block_size: cut.anchorTokens }
      : {}),
    ...(selection === undefined ? {} : { ...selection, forced_density: options.density ?? null }),
    prefill: report.prefill.map((timing) => {
      const { tokens, costs, density } = timing;
      const { tokensPerS, tflops } = prefillRates(timing);
      return {
        n: tokens,
        seconds: timing.seconds.map((value) => rounded(value, 6)),
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
      s_per_sample: rounded(timing.sampleSeconds, 6),
      gb_per_s: rounded(decodeRate(report, timing), 1),
    })),
    copy_gb_per_s: Number.isNaN(report.copyGbPerS) ? null : rounded(report.copyGbPerS, 1),
    device_mib: rounded(report.deviceMib, 1),
  });
}

/** A table for people. */
export function detailsText(report: ModeReport): string {
  const { options, mode, plan: { cut, selection } } = report;
  const blocks = cut.kind === "blocks"
    ? `, block ${cut.blockTokens}, anchor ${cut.anchorTokens}`
    : "";
  const sparse = selection !== undefined
    ? `, stride ${selection.stride}, ${
      options.density === undefined
        ? `threshold ${selection.threshold}`
        : `forced density ${options.density}`
    }`
    : "";
  const { processCount: ranks, exchange } = report;
  const shared = ranks > 1 ? `, ${ranks} processes over ${exchange}` : "";
  const lines = [
    `${modelName(options)}, ${report.device}${shared}, ${options.dtype}, ${mode}${blocks}${sparse}`,
    row(["prefill", "s (min)", "s (med)", "tokens/s", "TFLOP/s", "density"], [
      "matmul s",
      "attention s",
      "selection s",
      "rest s",
    ]),
    ...report.prefill.map(prefillRow),
  ];
  if (report.decode.length > 0) {
    lines.push(
      row(["decode at", "ms/step", "tokens/s", "GB/s", "of copy"], ["at once", "s/sample"]),
    );
  }
  for (const timing of report.decode) {
    const rate = decodeRate(report, timing);
    lines.push(row([
      String(timing.context),
      (timing.seconds * 1000).toFixed(3),
      (timing.batch / timing.seconds).toFixed(2),
      rate.toFixed(1),
      `${(100 * rate / report.copyGbPerS).toFixed(0)}%`,
    ], [String(timing.batch), timing.sampleSeconds.toFixed(3)]));
  }
  const memory = `peak memory: ${report.rssMib.toFixed(0)} MiB resident, ` +
    `${report.deviceMib.toFixed(0)} MiB allocated on the device`;
  return `${[...lines, memory].join("\n")}\n\n`;
}

function prefillRow(timing: PrefillTiming): string {
  const { tokens, seconds, costs, density } = timing;
  const { tokensPerS, tflops } = prefillRates(timing);
  const parts = [costs.matmulS, costs.attentionS, costs.selectionS, restSeconds(timing)];
  return row([
    String(tokens),
    Math.min(...seconds).toFixed(3),
    median(seconds).toFixed(3),
    tokensPerS.toFixed(1),
    tflops.toFixed(3),
    density.toFixed(3),
  ], parts.map((part) => part.toFixed(3)));
}

function row(numbers: readonly string[], parts: readonly string[]): string {
  return [...numbers.map((text) => text.padStart(10)), ...parts.map((text) => text.padStart(12))]
    .join("");
}

function prefillRates(timing: PrefillTiming): { tokensPerS: number; tflops: number } {
  const seconds = median(timing.seconds);
  const { matmulFlops, attentionFlops } = timing.costs;
  return {
    tokensPerS: timing.tokens / seconds,
    tflops: (matmulFlops + attentionFlops) / seconds / 1e12,
  };
}

/** What matrix products, attention and selection leave of a run. */
function restSeconds({ seconds, costs }: PrefillTiming): number {
  const named = costs.matmulS + costs.attentionS + costs.selectionS;
  return Math.max(costs.otherS, (seconds.at(-1) ?? 0) - named);
}

/** Bytes of weights and caches that a step reads on one process, per nanosecond. */
function decodeRate(report: ModeReport, timing: DecodeTiming): number {
  const { config, options } = report;
  const elements = allWeights(config)
    .filter((spec) => spec.name !== config.embedding.name || isTied(config))
    .reduce((sum, { shape }) => sum + shape.reduce((a, b) => a * b, 1), 0);
  const { layerCount, kvHeads, headDim } = config;
  const { blocksByRank } = layOutBlocks(report.plan, {
    contextTokens: timing.context,
    ranks: report.processCount,
  });
  const tokens = Math.max(...blocksByRank.map(tokensIn)) + options.decodeTokens / 2;
  const cache = 2 * layerCount * kvHeads * headDim * tokens * (options.dtype === "f32" ? 4 : 2);
  return (2 * elements + timing.batch * cache) / timing.seconds / 1e9;
}

function modelName({ model }: BenchOptions): string {
  return model.kind === "folder" ? model.folder : `${model.name} (random weights)`;
}

function rounded(value: number, digits: number): number | null {
  return Number.isFinite(value) ? Number(value.toFixed(digits)) : null;
}
