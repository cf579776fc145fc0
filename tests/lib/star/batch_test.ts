/**
 * A sample's tokens and logits are the same bits in whatever company it is decoded.
 *
 * @module
 */
import type { AttentionPlan } from "../../../lib/attention/plan.ts";
import { assert, assertEquals } from "../../helpers/assert.ts";
import { batchSamples, runBatches } from "../../helpers/batches.ts";
import { Random } from "../../helpers/random.ts";
import { goldenEntries, goldenPlan } from "../../helpers/golden.ts";

const COUNT = 40;
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

function planOf(name: string): AttentionPlan {
  const plan = goldenPlan(name === "ring" ? "dense" : name, golden);
  assert(plan !== undefined);
  return name === "ring" ? { ...plan, mode: "ring" } : plan;
}

for (
  const [name, dtype, ranks] of [
    ["dense", "f32", 1],
    ["dense", "bf16", 1],
    ["xattn_S16_t0.9", "bf16", 1],
    ["star", "bf16", 1],
    ["star", "bf16", 2],
    ["starx_p1_S16_t0.9", "bf16", 2],
    ["star_seedweights_S16", "bf16", 2],
    ["ring", "bf16", 2],
  ] as const
) {
  const where = `${name}, ${dtype}, ${ranks === 1 ? "alone" : `${ranks} ranks`}, seed ${SEED}`;
  Deno.test(`a sample has the same bits in batches of 1, 2, 5, 16 and 40: ${where}`, async () => {
    const samples = await batchSamples(COUNT);
    const base = { plan: planOf(name), dtype, ranks };
    const order = samples.map((_, i) => i);
    const expected = await runBatches(samples, { ...base, width: 1, order });
    assertEquals(expected.map(({ ids }) => ids.length), samples.map((s) => s.tokensToGenerate));
    assert(new Set(expected.map(({ ids }) => String(ids))).size > COUNT / 2);
    for (const width of [2, 5, 16, 40]) {
      const found = await runBatches(samples, { ...base, width, order: shuffled(COUNT) });
      assertEquals(found, expected);
    }
  });
}
