/**
 * Whether a table of thresholds is for a model.
 *
 * @module
 */
import type { Plan } from "../attention/plan.ts";
import { isTable, tableMisfit } from "../attention/thresholds.ts";
import { modelDigest } from "../model/digest.ts";
import { optionError } from "../options.ts";

/**
 * Checks a plan's table, if it has one, against a model.
 *
 * @param model `folder`: absent where there are no files whose digest could be compared.
 * @throws {UsageError} If it has other layers or heads, or was found for another model.
 * @throws {FileError} If a file of the model cannot be read.
 */
export async function checkPlanTable(
  { selection }: Plan,
  model: { folder?: string; config: { readonly layerCount: number; readonly queryHeads: number } },
): Promise<void> {
  if (selection === undefined || !isTable(selection.threshold)) return;
  const place = { action: "select tiles", name: "threshold" };
  const { folder, config } = model;
  const table = selection.threshold;
  const misfit = tableMisfit(table, config);
  if (misfit !== undefined) throw optionError(place, misfit);
  if (folder === undefined || table.model === null) return;
  const digest = await modelDigest(folder);
  if (digest === table.model) return;
  throw optionError(place, {
    rule: `of the model in ${folder}, whose SHA-256 is ${digest.slice(0, 12)}...`,
    value: `${table.model.slice(0, 12)}...`,
  });
}
