/**
 * Samples that are decoded together on GPUs, on fake ones: recorded steps, which run ahead, on one GPU
 * and on layers of two, and on two processes whose exchanges are recorded. Ignored without a C compiler.
 *
 * @module
 */
import { openEngine } from "../../../lib/engine/engine.ts";
import { PRECISIONS } from "../../../lib/model/precision.ts";
import type { GenerateResult } from "../../../lib/star/request.ts";
import { assert, assertEquals, assertMatch } from "../../helpers/assert.ts";
import { BATCH_SEED, batchPlan, batchSamples, checkWidths } from "../../helpers/batches.ts";
import { addFakeNccl, buildFakeGpu, withFakeGpu } from "../../helpers/fake_gpu.ts";
import { MODEL } from "../../helpers/prompts.ts";

const folder = await buildFakeGpu();
const ignore = folder === undefined;

for (const gpusPerRank of [1, 2]) {
  const name = `a sample has the same bits in batches of 1 and 3, layers on ${gpusPerRank} ` +
    `fake GPUs (seed ${BATCH_SEED})`;
  Deno.test({
    name,
    ignore,
    fn: () =>
      withFakeGpu(folder, async () => {
        const plan = await batchPlan("star");
        await checkWidths([3], { plan, dtype: "bf16", device: "cuda", gpusPerRank, count: 6 });
      }, { FAKE_GPUS: "2" }),
  });
}

Deno.test({
  name: "samples at once give what they give one by one on two processes that exchange over NCCL",
  ignore,
  fn: async () => {
    assert(folder !== undefined);
    const settings = { STARX_CUDA: await addFakeNccl(folder), FAKE_GPUS: "2" };
    await withFakeGpu(folder, async () => {
      const samples = await batchSamples(5);
      const run = async (batchSize: number): Promise<GenerateResult[]> => {
        await using engine = await openEngine({
          modelFolder: MODEL,
          plan: await batchPlan("star"),
          device: "cuda",
          precision: PRECISIONS.bf16,
          threads: 1,
          processCount: 2,
          timeoutMs: 60_000,
          batchSize,
        });
        assertMatch(engine.deviceDescription, /2 processes, NCCL/);
        return await Promise.all(samples.map((sample) => engine.generate(sample)));
      };
      const [expected, found] = [await run(1), await run(3)];
      assertEquals(
        found.map(({ ids, topLogits }) => [ids, topLogits]),
        expected.map(({ ids, topLogits }) => [ids, topLogits]),
      );
    }, settings);
  },
});
