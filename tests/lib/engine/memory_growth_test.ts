/**
 * Pools of keys and values that grow while another sequence has pages there: what is refused before,
 * and what there is memory for.
 *
 * @module
 */
import { checkPlan } from "../../../lib/attention/plan.ts";
import { openCpuDevice } from "../../../lib/device/cpu.ts";
import type { Device } from "../../../lib/device/device.ts";
import { stagesOn } from "../../../lib/device/stages.ts";
import { RESERVE_BYTES } from "../../../lib/engine/memory_plan.ts";
import { RankModel } from "../../../lib/engine/rank.ts";
import { DeviceError } from "../../../lib/errors.ts";
import { cacheBytes } from "../../../lib/model/layer_cache.ts";
import type { ModelShape } from "../../../lib/model/model_shape.ts";
import { PRECISIONS } from "../../../lib/model/precision.ts";
import { randomWeights } from "../../../lib/model/random_weights.ts";
import { modelShape } from "../../../lib/model/shapes.ts";
import { SelfCollective } from "../../../lib/parallel/self.ts";
import { assert, assertEquals } from "../../helpers/assert.ts";
import { MemoryMeter } from "../../helpers/memory_meter.ts";

const small = modelShape("small");
assert(small !== undefined);

const CHUNK_TOKENS = 256;
const [FIRST_TOKENS, SECOND_TOKENS] = [1_500, 500];
const ROOM = 20;

/** A device of so many bytes beside the weights, without what libraries take of a GPU. */
function limited(device: Device): {
  device: Device;
  meter: MemoryMeter;
  limit: (bytes: number) => void;
} {
  let limitBytes = Infinity;
  const allocateCounted = (bytes: number, label: string) => {
    if (meter.liveBytes + bytes > limitBytes) throw new Error(`no memory for ${label}`);
    return device.allocate(bytes, label);
  };
  const meter = new MemoryMeter(device, { allocateCounted });
  const own = new Proxy(meter.device, {
    get(target, name) {
      if (name === "freeBytes") return limitBytes - meter.liveBytes + RESERVE_BYTES;
      return Reflect.get(target, name, target);
    },
  });
  return { device: own, meter, limit: (bytes) => limitBytes = bytes };
}

/**
 * Encodes a context beside another one.
 *
 * @param spareBytes Memory beside what is there once the first one is.
 * @returns The most that the second one took, or undefined if it was refused.
 */
async function secondTakes(config: ModelShape, spareBytes: number): Promise<number | undefined> {
  using host = await openCpuDevice({ threads: 1 });
  const { device, meter, limit } = limited(host);
  const stages = stagesOn([device], config);
  using weights = await randomWeights(stages, config);
  using model = await RankModel.assemble({
    ...{ config, stages, weights, plan: checkPlan({ mode: "dense" }) },
    ...{ precision: PRECISIONS.bf16, chunkTokens: CHUNK_TOKENS, batchSize: 2 },
  });
  using collective = new SelfCollective();
  const call = { collective, room: ROOM, onProgress: () => {} };
  const idsOf = (tokens: number) =>
    Int32Array.from({ length: tokens }, (_, t) => (7 * t) % config.vocabularySize);
  using _first = await model.encode(idsOf(FIRST_TOKENS), call);
  meter.restart();
  const before = meter.liveBytes;
  limit(before + spareBytes);
  try {
    using _second = await model.encode(idsOf(SECOND_TOKENS), call);
    return meter.peakBytes - before;
  } catch (error) {
    if (!(error instanceof DeviceError)) throw error;
    assertEquals(meter.liveBytes, before);
    return undefined;
  }
}

Deno.test("a sequence that pools grow for beside another one is refused, or there is memory", async () => {
  const sizes = { kvHeads: small.kvHeads, headDim: small.headDim, dtype: "bf16" } as const;
  const bytesOf = (tokens: number, layers: number) => cacheBytes({ ...sizes, tokens, layers });
  // All layers of the second, and beside that the first one's keys of one layer.
  const growth = bytesOf(SECOND_TOKENS + ROOM, small.layerCount);
  const needed = growth + bytesOf(FIRST_TOKENS + ROOM, 1);
  assertEquals(await secondTakes(small, needed + 2 ** 20), needed);
  assertEquals(await secondTakes(small, growth), undefined);
  assertEquals(await secondTakes(small, needed - 1), undefined);
  assertEquals(await secondTakes(small, needed), needed);
});
