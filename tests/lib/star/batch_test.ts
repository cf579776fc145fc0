/**
 * A sample's tokens and logits are the same bits in whatever company it is decoded.
 *
 * @module
 */
import { type CheckedPlan, checkPlan } from "../../../lib/attention/plan.ts";
import { assert, assertEquals } from "../../helpers/assert.ts";
import { type BatchRun, batchSamples, runBatches } from "../../helpers/batches.ts";
import { Random } from "../../helpers/random.ts";
import { goldenEntries, goldenPlan } from "../../helpers/golden.ts";

const SEED = 7;

/** The numbers below `count` in another order. */
function shuffled(count: number): number[] {
  const random = new Random(SEED);
  const order = Array.from({ length: count }, (_, i) => i);
  for (let i = count - 1; i > 0; i--) {
    const j = random.below(i + 1);
    [order[i], order[j]] = [order[j] ?? 0, order[i] ?? 0];
  }
  return order;
}

const [entry] = await goldenEntries();
assert(entry !== undefined);
const golden = entry;

function planOf(name: string): CheckedPlan {
  const isRing = name === "ring" || name === "ringx";
  const options = isRing ? { mode: name } as const : goldenPlan(name, golden);
  assert(options !== undefined);
  return checkPlan(options);
}

/** Runs the samples one by one, and then together in another order. */
async function checkWidths(
  widths: readonly number[],
  run: Omit<BatchRun, "width" | "order"> & { count: number },
): Promise<void> {
  const { count } = run;
  const samples = await batchSamples(count);
  const order = samples.map((_, i) => i);
  const expected = await runBatches(samples, { ...run, width: 1, order });
  assertEquals(expected.map(({ ids }) => ids.length), samples.map((s) => s.tokensToGenerate));
  // They are no copies of each other.
  assert(new Set(expected.map(({ topLogits }) => String(topLogits))).size === count);
  for (const width of widths) {
    const found = await runBatches(samples, { ...run, width, order: shuffled(count) });
    assertEquals(found, expected);
  }
}

for (const dtype of ["bf16", "f32"] as const) {
  Deno.test(`a sample has the same bits in batches of 1, 2, 5, 16 and 40 in ${dtype} (seed ${SEED})`, async () => {
    await checkWidths([2, 5, 16, 40], { plan: planOf("dense"), dtype, count: 40 });
  });
}

for (
  const [name, ranks] of [
    ["xattn_S16_t0.9", 1],
    ["star", 1],
    ["star", 2],
    ["starx_p1_S16_t0.9", 2],
    ["star_seedweights_S16", 2],
    ["ring", 2],
    ["ringx", 2],
  ] as const
) {
  const where = ranks === 1 ? "alone" : `on ${ranks} ranks`;
  Deno.test(`a sample has the same bits in batches of 1 and 5: ${name} ${where} (seed ${SEED})`, async () => {
    await checkWidths([5], { plan: planOf(name), dtype: "bf16", ranks, count: 10 });
  });
}
