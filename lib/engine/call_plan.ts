/**
 * A plan that a call has in place of the model's.
 *
 * @module
 */
import {
  type CheckedPlan,
  checkPlan,
  mergeOf,
  PLAN_OPTION_NAMES,
  type PlanOptions,
} from "../attention/plan.ts";
import { describeKeep, unitTiles } from "../attention/decode_keep.ts";
import type { ModelShape } from "../model/model_shape.ts";
import { checkNames, optionError } from "../options.ts";
import { checkPlanTable } from "./threshold_check.ts";

/**
 * Checks a call's plan. Steps of all contexts are the same: merge and what is read are the model's.
 *
 * @param model `action`: what is to be done, for messages; `plan`: the model's own.
 * @throws {UsageError} If an option is unknown or out of its range, the table of thresholds is for
 * another model, or the parts are to be merged, or keys to be read, in another way.
 */
export async function checkCallPlan(
  options: PlanOptions,
  model: { action: string; plan: CheckedPlan; folder: string; config: ModelShape },
): Promise<CheckedPlan> {
  const { action, folder, config } = model;
  checkNames(options, { action, known: PLAN_OPTION_NAMES });
  const plan = checkPlan(options);
  await checkPlanTable(plan, { folder, config });
  if (mergeOf(plan) !== mergeOf(model.plan)) {
    throw optionError({ action, name: "merge" }, {
      rule: `the model's, ${mergeOf(model.plan)}`,
      value: mergeOf(plan),
    });
  }
  const [own, value] = [keepText(model.plan), keepText(plan)];
  if (own === value) return plan;
  throw optionError({ action, name: "decodeKeep" }, { rule: `the model's, ${own}`, value });
}

/** What the plans of a model's calls have in common: equal texts fit one model. */
export function commonPart(plan: CheckedPlan): string {
  return `merge ${mergeOf(plan)}, ${keepText(plan)}`;
}

/** Which keys steps read, and among what they choose. */
function keepText({ decodeKeep, cut }: CheckedPlan): string {
  if (decodeKeep === undefined) return "1";
  const tiles = unitTiles(cut);
  return `${describeKeep(decodeKeep)} of ${tiles === 0 ? "all" : `each ${tiles}`} tiles`;
}
