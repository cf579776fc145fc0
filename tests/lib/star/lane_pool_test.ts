/**
 * How many chunks of an anchor go side by side, on a fake GPU. Ignored without a C compiler.
 *
 * @module
 */
import { openCudaDevice } from "../../../lib/device/cuda.ts";
import { stagesOn } from "../../../lib/device/stages.ts";
import { parseConfig } from "../../../lib/model/config.ts";
import { Transformer } from "../../../lib/model/forward.ts";
import { PRECISIONS } from "../../../lib/model/precision.ts";
import { randomWeights } from "../../../lib/model/random_weights.ts";
import { MODEL_CONFIGS } from "../../../lib/model/shapes.ts";
import { MOST_LANES, PLANNED_LANES } from "../../../lib/star/anchor_stream.ts";
import { LanePool } from "../../../lib/star/lane_pool.ts";
import { assert, assertEquals } from "../../helpers/assert.ts";
import { buildFakeGpu, withFakeGpu } from "../../helpers/fake_gpu.ts";

const folder = await buildFakeGpu();
const ignore = folder === undefined;

const PLAIN = parseConfig(MODEL_CONFIGS.small, { path: "small" });
const WINDOWS = parseConfig({
  ...MODEL_CONFIGS.small,
  ...{ architectures: ["MistralForCausalLM"], model_type: "mistral", sliding_window: 512 },
}, { path: "windows" });

/** How many lanes there are when so many are wanted, one after the other. */
async function openLanes(
  wanted: readonly number[],
  options: { config?: typeof PLAIN; gpuBytes?: number } = {},
): Promise<number[]> {
  const { config = PLAIN, gpuBytes = 8 * 2 ** 30 } = options;
  const found: number[] = [];
  await withFakeGpu(folder, async () => {
    using device = await openCudaDevice();
    const stages = stagesOn([device], config);
    using weights = await randomWeights(stages, config);
    const precision = PRECISIONS.bf16;
    const sizes = { config, weights, precision, maxTokens: 4096 };
    using transformer = new Transformer(stages, sizes);
    const before = device.liveAllocations;
    {
      using lanes = new LanePool({ stages, weights, precision, transformer });
      for (const count of wanted) {
        const open = await lanes.open(count);
        found.push(open);
        const all = Array.from({ length: open }, (_, index) => lanes.at(index));
        assertEquals(new Set(all).size, open);
        assert(all[0] === transformer, "the first one is the model's own");
      }
    }
    assertEquals(device.liveAllocations, before);
  }, { FAKE_GPU_BYTES: String(gpuBytes) });
  return found;
}

Deno.test({ name: "as many lanes as an anchor has chunks, up to a limit", ignore }, async () => {
  assertEquals(await openLanes([1, 3, 2, 100]), [1, 3, 2, MOST_LANES]);
});

Deno.test(
  { name: "layers with windows have room for the plan's lanes alone", ignore },
  async () => {
    assertEquals(await openLanes([1, 100], { config: WINDOWS }), [1, PLANNED_LANES]);
  },
);

Deno.test({ name: "lanes beyond the plan's leave half of what is left", ignore }, async () => {
  // A lane takes 17 MiB, and 50 are taken by the model and cuBLAS.
  const [few = 0] = await openLanes([100], { gpuBytes: 160 * 2 ** 20 });
  assert(few > PLANNED_LANES && few < MOST_LANES, `${few} lanes`);
  assertEquals(await openLanes([100], { gpuBytes: 95 * 2 ** 20 }), [PLANNED_LANES]);
});
