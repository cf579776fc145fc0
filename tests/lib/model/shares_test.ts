/**
 * The shares beside the model of the repository: each is for that model, and of the rule that they are
 * called by.
 *
 * @module
 */
import { thresholdOf } from "../../../commands/shared/threshold_flag.ts";
import { checkPlan } from "../../../lib/attention/plan.ts";
import { isTable, ruleOf } from "../../../lib/attention/thresholds.ts";
import { checkPlanTable } from "../../../lib/engine/threshold_check.ts";
import { readConfig } from "../../../lib/model/config.ts";
import { assert, assertEquals } from "../../helpers/assert.ts";
import { MODEL } from "../../helpers/prompts.ts";

for (const { name } of Deno.readDirSync(`${MODEL}/shares`)) {
  Deno.test(`shares/${name} is for the model beside it`, async () => {
    const [, mode, length] = /^(xattn|starx)-(\d+)\.json$/.exec(name) ?? [];
    assert(mode === "xattn" || mode === "starx");
    const threshold = thresholdOf(`${MODEL}/shares/${name}`);
    assert(isTable(threshold) && threshold.model !== null);
    assertEquals(ruleOf(threshold), "share");
    const plan = checkPlan({ mode, blockTokens: Number(length) / 4, threshold });
    await checkPlanTable(plan, { folder: MODEL, config: await readConfig(MODEL) });
  });
}
