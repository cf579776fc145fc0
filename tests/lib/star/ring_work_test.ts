/**
 * What the ranks of a ring do: as much attention each, and equally many turns for others.
 *
 * @module
 */
import { checkPlan, type PlanOptions } from "../../../lib/attention/plan.ts";
import { openCpuDevice } from "../../../lib/device/cpu.ts";
import { ProfiledDevice } from "../../../lib/device/profiled.ts";
import { stagesOn } from "../../../lib/device/stages.ts";
import { NO_HOOKS } from "../../../lib/engine/hooks.ts";
import { RankModel } from "../../../lib/engine/rank.ts";
import { PRECISIONS } from "../../../lib/model/precision.ts";
import { randomWeights } from "../../../lib/model/random_weights.ts";
import { modelShape } from "../../../lib/model/shapes.ts";
import { ShmCollective, ShmGroup } from "../../../lib/parallel/shm.ts";
import { assert, assertEquals } from "../../helpers/assert.ts";

const config = modelShape("small");
assert(config !== undefined);
const { layerCount, queryHeads, headDim, vocabularySize } = config;

/** What a rank's phase 1 took. */
interface Work {
  /** Operations of dense attention. */
  readonly flops: number;
  readonly turns: number;
}

/** Encodes a context on ranks of this process. */
async function workOf(
  plan: PlanOptions,
  options: { ranks: number; contextTokens: number },
): Promise<Work[]> {
  const { ranks, contextTokens } = options;
  assert(config !== undefined);
  const slotBytes = 1 << 16;
  using group = new ShmGroup({ size: ranks, slotBytes });
  return await Promise.all(Array.from({ length: ranks }, async (_, rank) => {
    const place = { rank, size: ranks, slotBytes, timeoutMs: 60_000 };
    using collective = new ShmCollective(group.path, place);
    using device = new ProfiledDevice(await openCpuDevice({ threads: 1 }));
    const stages = stagesOn([device], config);
    using weights = await randomWeights(stages, config);
    using model = await RankModel.assemble({
      ...{ config, stages, weights, plan: checkPlan(plan), precision: PRECISIONS.bf16 },
      ...{ chunkTokens: 512, batchSize: 1 },
    });
    device.count({ marks: false });
    let turns = 0;
    const ids = Int32Array.from({ length: contextTokens }, (_, i) => 7 * i % vocabularySize);
    const turn = () => {
      turns++;
      return Promise.resolve();
    };
    const hooks = { ...NO_HOOKS, turn };
    using encoded = await model.encode(ids, { collective, room: 8, onProgress: () => {}, hooks });
    assertEquals(encoded.sequence.contextTokens, contextTokens);
    const flops = (await device.costs()).get("sx_attention_dense")?.flops ?? 0;
    return { flops, turns };
  }));
}

Deno.test("the ranks of a ring do as much attention each", async () => {
  const contextTokens = 2048;
  // The last layer's attention is left out.
  const pairs = contextTokens * (contextTokens + 1) / 2 * queryHeads * (layerCount - 1);
  for (const ranks of [2, 4]) {
    const work = await workOf({ mode: "ring" }, { ranks, contextTokens });
    const all = work.reduce((sum, { flops }) => sum + flops, 0);
    assertEquals(all, 4 * headDim * pairs, "every pair is computed once");
    for (const [rank, { flops }] of work.entries()) {
      const share = flops / all * ranks;
      assert(Math.abs(share - 1) < 0.01, `rank ${rank} of ${ranks} has ${share} of its part`);
    }
  }
});

Deno.test("all ranks of a ring have a turn in front of each exchange, those without a part, too", async () => {
  for (const plan of [{ mode: "ring" }, { mode: "ringx", threshold: 0.5 }] as const) {
    for (const contextTokens of [1, 300]) {
      const work = await workOf(plan, { ranks: 3, contextTokens });
      const turns = work.map(({ turns }) => turns);
      // And one when the context is encoded.
      assertEquals(turns, Array(3).fill(layerCount), `${plan.mode}, ${contextTokens} tokens`);
    }
  }
});
