/**
 * Every family on a GPU against the reference's logits.
 *
 * @module
 */
import { assert } from "../helpers/assert.ts";
import { HAS_GPU } from "../helpers/device.ts";
import { familiesFolder, familyCases, logitErrors, runFamily } from "../helpers/families.ts";

/** The root of the mean square of bf16's errors, in standard deviations. */
const TOLERANCE = 5e-2;

for (const [name, expected] of familyCases()) {
  for (const mode of ["dense", "xattn"] as const) {
    Deno.test({
      name: `the reference's logits on a GPU: ${mode}, ${name}`,
      ignore: !HAS_GPU,
      fn: async () => {
        const plan = mode === "dense" ? { mode } : { mode, threshold: 1 };
        const { ids } = expected;
        const folder = `${familiesFolder()}/${name}`;
        const found = await runFamily(folder, { ids, plan, dtype: "bf16", device: "cuda" });
        const { rootMeanSquare } = logitErrors(found, expected);
        assert(rootMeanSquare <= TOLERANCE, `the error is ${rootMeanSquare}`);
      },
    });
  }
}
