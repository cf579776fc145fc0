/**
 * The whole pipeline on a GPU against the reference values of `tests/golden/attention.json`: greedy
 * ids where nothing is selected, and the first logits.
 *
 * @module
 */
import { PRECISIONS } from "../../lib/model/precision.ts";
import { openEngine } from "../../lib/engine/engine.ts";
import { assert, assertEquals } from "../helpers/assert.ts";
import { HAS_GPU } from "../helpers/device.ts";
import { checkPlan } from "../../lib/attention/plan.ts";
import { goldenEntries, goldenPlan } from "../helpers/golden.ts";
import { MODEL } from "../helpers/prompts.ts";

/**
 * bf16's error of a logit. The CPU in bf16 is off by up to 0.049 on these prompts, over all modes
 * (`scripts/check_reference.ts --device cpu`); a GPU rounds the queries, too.
 */
const LOGIT_TOLERANCE = 0.12;

for (const entry of await goldenEntries()) {
  for (const name of ["dense", "star"]) {
    const golden = entry.modes[name];
    const plan = goldenPlan(name, entry);
    if (golden === undefined || plan === undefined) continue;
    const test = `the reference's ids and logits on a GPU: ${name}, ${entry.task}`;
    Deno.test({ name: test, ignore: !HAS_GPU }, async () => {
      await using engine = await openEngine({
        modelFolder: MODEL,
        plan: checkPlan(plan),
        device: "cuda",
        precision: PRECISIONS.bf16,
        threads: 1,
        processCount: 1,
        timeoutMs: 60_000,
      });
      const result = await engine.generate({
        sample: entry.task,
        contextIds: Int32Array.from(entry.context_ids),
        queryIds: Int32Array.from(entry.query_ids),
        tokensToGenerate: golden.greedy_ids.length,
        stopIds: [],
        topLogits: 64,
      });
      assertEquals(result.ids, [...golden.greedy_ids]);
      const logits = new Map(result.topLogits);
      // The last of the 24 may change places with the next ones.
      for (const [id, logit] of golden.first_logits_top24.slice(0, 20)) {
        const error = Math.abs((logits.get(id) ?? Infinity) - logit);
        assert(error <= LOGIT_TOLERANCE, `the logit of ${id} is off by ${error}`);
      }
    });
  }
}
