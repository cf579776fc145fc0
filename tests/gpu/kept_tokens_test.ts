/**
 * Layers with windows on a GPU keep what later tokens see, and compute what they would with all keys:
 * bit for bit. Ignored without a GPU.
 *
 * @module
 */
import type { PlanOptions } from "../../lib/attention/plan.ts";
import { openCudaDevice } from "../../lib/device/cuda.ts";
import { assert } from "../helpers/assert.ts";
import { GPU_COUNT } from "../helpers/device.ts";
import {
  checkSame,
  KEPT_BLOCKS as BLOCKS,
  KEPT_SELECTION as SELECTION,
  KEPT_SIZES,
} from "../helpers/kept_tokens.ts";

/** Modes, ranks, and the largest share of the keys of layers with windows that is kept. */
const MODES: readonly (readonly [PlanOptions, number, number])[] = [
  [{ mode: "dense" }, 1, 0.4],
  [{ mode: "xattn", ...SELECTION }, 1, 0.75],
  [{ mode: "star", ...BLOCKS }, 1, 0.4],
  [{ mode: "starx", ...BLOCKS, ...SELECTION }, 1, 0.75],
  [{ mode: "ring" }, 1, 0.4],
  [{ mode: "ring" }, 2, 0.8],
];

for (const [options, ranks, share] of MODES) {
  const name = `${options.mode}, ${ranks} ranks`;
  const open = (rank: number) => openCudaDevice({ ordinal: rank % Math.max(1, GPU_COUNT) });

  Deno.test({
    name: `what windows hide is not kept, and nothing changes on a GPU: ${name}`,
    ignore: GPU_COUNT === 0,
    fn: async () => {
      const found = await checkSame({ ...KEPT_SIZES, options, ranks, open });
      assert(found <= share, `${found} of the keys at most, ${share} expected`);
    },
  });

  Deno.test({
    name: `a long answer moves the keys of a window along on a GPU: ${name}`,
    ignore: GPU_COUNT === 0,
    fn: async () => {
      const sizes = { lengths: [300, 1500], chunkTokens: 128, answerTokens: 700 };
      await checkSame({ ...KEPT_SIZES, ...sizes, options, ranks, open });
    },
  });
}
