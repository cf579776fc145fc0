/**
 * The options of a run as `run.json` holds them.
 *
 * @module
 */
import { describeKeep } from "../../lib/attention/decode_keep.ts";
import { type CheckedPlan, mergeOf, modeOf } from "../../lib/attention/plan.ts";
import type { SelectModule } from "../../lib/attention/select_module.ts";
import { thresholdRecord } from "../../lib/attention/thresholds.ts";
import { UsageError } from "../../lib/errors.ts";
import { isJsonObject } from "../../lib/text_file.ts";
import type { CheckedLoad } from "../../lib/engine/options.ts";
import { type InstructionSet, ROWS_SETS, type RowsSetName } from "../../lib/ffi/status.ts";
import { weightRecord } from "./weights.ts";
import type { OptionValue } from "./run_record.ts";

/** The options of a plan that change results, by their flags. */
export function planOptions(
  plan: CheckedPlan,
  run: {
    device: string;
    dtype: string;
    weights?: string | undefined;
    head?: string | undefined;
    cache?: string | undefined;
    processCount: number;
    rowsSet?: RowsSetName | undefined;
    forcedSet?: InstructionSet | undefined;
    ropeScaling?: Readonly<Record<string, unknown>> | undefined;
    selectModule?: SelectModule | undefined;
  },
): Record<string, OptionValue> {
  const { cut, selection, decodeKeep } = plan;
  const blocks = cut.kind === "blocks"
    ? { block_size: cut.blockTokens, anchor_block_size: cut.anchorTokens, merge: cut.merge }
    : {};
  return {
    attn_type: modeOf(plan),
    ...blocks,
    ...(selection === undefined ? {} : {
      stride: selection.stride,
      threshold: thresholdRecord(selection.threshold),
      ...(selection.rest === undefined ? {} : { rest: selection.rest }),
    }),
    ...(decodeKeep === undefined ? {} : { decode_keep: describeKeep(decodeKeep) }),
    ...(run.ropeScaling === undefined ? {} : { rope_scaling: JSON.stringify(run.ropeScaling) }),
    ...(run.selectModule === undefined ? {} : { select: run.selectModule.sha256 }),
    // The weights of this merge are one per process.
    ...(mergeOf(plan) === "antidiagonal" ? { nproc_per_node: run.processCount } : {}),
    // A GPU adds in another order: with bf16, close decisions can turn out otherwise.
    device: run.device,
    dtype: run.dtype,
    // Another set adds in another order, too.
    ...(run.forcedSet === undefined ? {} : { forced_set: run.forcedSet }),
    ...(run.rowsSet === undefined || run.rowsSet === "own" ? {} : { rows_set: run.rowsSet }),
    ...weightRecord(run),
  };
}

/**
 * The tokens that end an answer: `generation_config.json` names them, too, which the model's digest
 * leaves out.
 */
export function endRecord(endIds: readonly number[]): Record<string, OptionValue> {
  return endIds.length === 0 ? {} : { end_ids: endIds };
}

/** What `run.json` says of the rows of decode steps: a run that is continued keeps it. */
export function recordedRowsSet(record: unknown): RowsSetName {
  const options = isJsonObject(record) && isJsonObject(record.options) ? record.options : {};
  return ROWS_SETS.find((name) => name === options.rows_set) ?? "own";
}

/** @throws {UsageError} If a module is to select tiles, and no mode does so. */
export function checkSelects(
  plans: readonly CheckedPlan[],
  options: { selectModule?: unknown },
): void {
  if (options.selectModule === undefined || plans.some(({ selection }) => selection)) return;
  throw new UsageError(
    "--select: takes a mode that selects tiles (xattn, starx, ringx): " +
      `current value of --attn_type is ${plans.map(modeOf).join(" ")}`,
  );
}

/** The options that change no result. */
export function uncheckedOptions(
  options: Pick<CheckedLoad, "processCount" | "threads" | "timeoutMs"> & {
    gpusPerRank?: number | undefined;
  },
): Record<string, OptionValue> {
  return {
    nproc_per_node: options.processCount,
    threads: options.threads,
    gpus_per_rank: options.gpusPerRank ?? 0,
    timeout: options.timeoutMs / 1000,
  };
}
