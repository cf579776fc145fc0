/**
 * A sample's tokens and logits are the same bits in whatever company it is decoded.
 *
 * @module
 */
import { BATCH_SEED, batchPlan, checkWidths } from "../../helpers/batches.ts";

for (const dtype of ["bf16", "f32"] as const) {
  Deno.test(`a sample has the same bits in batches of 1, 2, 5, 16 and 40 in ${dtype} (seed ${BATCH_SEED})`, async () => {
    await checkWidths([2, 5, 16, 40], { plan: await batchPlan("dense"), dtype, count: 40 });
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
    ["ring", 3],
    ["ringx", 2],
  ] as const
) {
  const where = ranks === 1 ? "alone" : `on ${ranks} ranks`;
  Deno.test(`a sample has the same bits in batches of 1 and 5: ${name} ${where} (seed ${BATCH_SEED})`, async () => {
    // A ring's parts are long enough for several chunks only where contexts are.
    const times = name.startsWith("ring") ? 3 : 1;
    const plan = await batchPlan(name);
    await checkWidths([5], { plan, dtype: "bf16", ranks, count: 10, times });
  });
}
