/**
 * Every family computes what the reference implementation does, in every mode that is exact.
 *
 * @module
 */
import type { PlanOptions } from "../../lib/attention/plan.ts";
import { assert, assertEquals } from "../helpers/assert.ts";
import {
  decidedIds,
  documentedErrors,
  familiesFolder,
  type FamilyCase,
  familyCases,
  type FamilyRun,
  logitErrors,
  runFamily,
} from "../helpers/families.ts";

/**
 * The error of the logits, in standard deviations: the largest one of float32, the root of the mean
 * square of bf16. docs/models.md tells what rounding costs, and why single logits are off by more.
 */
const TOLERANCE = { f32: 1e-3, bf16: 5e-2 } as const;
/** The largest error of a logit in bf16. */
const LARGEST_IN_BF16 = 7e-2;

/** Plans that leave nothing out; 280 tokens of context are one block of the larger size. */
const EXACT: readonly (readonly [string, PlanOptions, number])[] = [
  ["ring on 3 ranks", { mode: "ring" }, 3],
  ["star with one block", { mode: "star", blockTokens: 512 }, 1],
  ["xattn with threshold 1", { mode: "xattn", threshold: 1, stride: 16 }, 1],
  ["ringx with threshold 1 on 2 ranks", { mode: "ringx", threshold: 1, stride: 16 }, 2],
];

async function assertFamily(name: string, expected: FamilyCase, run: FamilyRun): Promise<void> {
  const { dtype = "f32" } = run;
  const found = await runFamily(`${familiesFolder()}/${name}`, { ...run, ids: expected.ids });
  const { largest, rootMeanSquare } = logitErrors(found, expected);
  const error = dtype === "f32" ? largest : rootMeanSquare;
  const limit = TOLERANCE[dtype];
  assert(error <= limit, `the error must be at most ${limit}: current value is ${error}`);
  assert(largest <= LARGEST_IN_BF16, `a logit is off by ${largest}`);
  if (run.plan === undefined) {
    const { architectures: [architecture] } = JSON.parse(
      await Deno.readTextFile(`${familiesFolder()}/${name}/config.json`),
    );
    const documented = documentedErrors(architecture);
    const text = `the README says ${JSON.stringify(documented)}: current values are ${error} and ` +
      `${largest}`;
    assert(error <= documented[dtype], text);
    assert(dtype === "f32" || largest <= documented.largest, text);
  }
  const count = decidedIds(expected, largest);
  assertEquals(found.ids.slice(0, count), expected.greedy.slice(0, count));
}

const CASES = familyCases();

Deno.test({
  name: "generate() gives the reference's logits and ids for every family",
  ignore: CASES.size === 0,
  fn: async (t) => {
    for (const [name, expected] of CASES) {
      for (const dtype of ["f32", "bf16"] as const) {
        await t.step(`${name} in ${dtype}`, () => assertFamily(name, expected, { dtype }));
      }
    }
  },
});

Deno.test({
  name: "generate() gives the same in every exact mode for every family",
  ignore: CASES.size === 0,
  fn: async (t) => {
    for (const [name, expected] of CASES) {
      for (const [label, plan, processCount] of EXACT) {
        await t.step(
          `${name} in ${label}`,
          () => assertFamily(name, expected, { plan, processCount }),
        );
      }
    }
  },
});

Deno.test({
  name: "generate() in star gives the same on 1 to 3 ranks where layers have windows",
  ignore: CASES.size === 0,
  fn: async (t) => {
    const name = "mistral-window";
    const expected = CASES.get(name);
    assert(expected !== undefined);
    const { ids } = expected;
    for (const mode of ["star", "starx"] as const) {
      const plan: PlanOptions = { mode, blockTokens: 128, threshold: 0.8, stride: 8 };
      const folder = `${familiesFolder()}/${name}`;
      const alone = await runFamily(folder, { ids, plan });
      for (const processCount of [2, 3]) {
        await t.step(`${mode} on ${processCount} ranks`, async () => {
          const found = await runFamily(folder, { ids, plan, processCount });
          assertEquals(found.ids, alone.ids);
          const logits = new Map(alone.topLogits);
          for (const [id, logit] of found.topLogits) {
            const error = Math.abs(logit - (logits.get(id) ?? NaN)) / expected.std;
            assert(error <= TOLERANCE.f32, `the logit of ${id} is off by ${error}`);
          }
        });
      }
    }
  },
});
