/**
 * Whether a table of thresholds is for a model.
 *
 * @module
 */
import type { Plan } from "../attention/plan.ts";
import { isTable, tableError, tableMisfit } from "../attention/thresholds.ts";
import { modelDigest } from "../model/digest.ts";

/**
 * Checks a plan's table, if it has one, against a model.
 *
 * @param model `folder`: absent where there are no files whose digest could be compared.
 * @throws {UsageError} If it has other layers or heads, or was found for another model; the message
 * names the table's file, if it has one, and the key.
 * @throws {FileError} If a file of the model cannot be read.
 */
export async function checkPlanTable(
  { selection }: Plan,
  model: { folder?: string; config: { readonly layerCount: number; readonly queryHeads: number } },
): Promise<void> {
  if (selection === undefined || !isTable(selection.threshold)) return;
  const { folder, config } = model;
  const table = selection.threshold;
  const misfit = tableMisfit(table, config);
  if (misfit !== undefined) throw tableError(table, misfit);
  if (folder !== undefined) await checkTableModel({ ...table, key: "model" }, folder);
}

/**
 * Checks that what was found for a model is for this one.
 *
 * @param found `model`: the digest; null for any. `key`: what has it in the file.
 * @throws As `checkPlanTable()`.
 */
export async function checkTableModel(
  found: { readonly model: string | null; readonly file?: string | undefined; key: string },
  folder: string,
): Promise<void> {
  const { model, key } = found;
  if (model === null) return;
  const digest = await modelDigest(folder);
  if (digest === model) return;
  throw tableError(found, {
    key,
    rule: `of the model in ${folder}, whose SHA-256 is ${digest.slice(0, 12)}...`,
    value: `${model.slice(0, 12)}...`,
  });
}
