/**
 * Layers with windows keep what later tokens see, and compute what they would with all keys: bit for
 * bit in every mode, in batches, in long answers, and when a context is asked again.
 *
 * @module
 */
import type { PlanOptions } from "../../../lib/attention/plan.ts";
import { openCpuDevice } from "../../../lib/device/cpu.ts";
import { openCudaDevice } from "../../../lib/device/cuda.ts";
import { assert, assertEquals } from "../../helpers/assert.ts";
import { buildFakeGpu, withFakeGpu } from "../../helpers/fake_gpu.ts";
import {
  checkSame,
  KEPT_BLOCKS as BLOCKS,
  KEPT_SELECTION as SELECTION,
  KEPT_SIZES as SIZES,
  runKept,
} from "../../helpers/kept_tokens.ts";

const folder = await buildFakeGpu();

/** Modes, ranks, and the largest share of the keys of layers with windows that is kept. */
const MODES: readonly (readonly [PlanOptions, number, number])[] = [
  [{ mode: "dense" }, 1, 0.4],
  [{ mode: "xattn", ...SELECTION }, 1, 0.75],
  [{ mode: "star", ...BLOCKS }, 1, 0.4],
  [{ mode: "star", ...BLOCKS }, 2, 0.8],
  [{ mode: "star", blockTokens: 500, anchorTokens: 500 }, 3, 1],
  [{ mode: "star", ...BLOCKS, merge: "antidiagonal" }, 2, 1],
  [{ mode: "starx", ...BLOCKS, ...SELECTION }, 1, 0.75],
  [{ mode: "starx", ...BLOCKS, ...SELECTION }, 2, 1],
  [{ mode: "ring" }, 1, 0.4],
  [{ mode: "ring" }, 2, 0.8],
  [{ mode: "ring" }, 3, 0.9],
  [{ mode: "ringx", ...SELECTION }, 1, 0.4],
  [{ mode: "ringx", ...SELECTION }, 3, 0.9],
];

for (const [options, ranks, share] of MODES) {
  const name = [options.mode, options.merge ?? "", `${ranks} ranks`].filter(Boolean).join(", ");
  Deno.test(`what windows hide is not kept, and nothing changes on the CPU: ${name}`, async () => {
    const open = () => openCpuDevice({ threads: 1 });
    const found = await checkSame({ ...SIZES, options, ranks, open });
    assert(found <= share, `${found} of the keys at most, ${share} expected`);
  });
}

for (const [options, ranks, share] of MODES) {
  const name = [options.mode, options.merge ?? "", `${ranks} ranks`].filter(Boolean).join(", ");
  const test = `what windows hide is not kept, and nothing changes on a fake GPU: ${name}`;
  Deno.test({ name: test, ignore: folder === undefined }, () =>
    withFakeGpu(folder, async () => {
      const open = (ordinal: number) => openCudaDevice({ ordinal });
      const found = await checkSame({ ...SIZES, options, ranks, open });
      assert(found <= share, `${found} of the keys at most, ${share} expected`);
    }, { FAKE_GPUS: "3" }));
}

const ASKED = [
  [{ mode: "dense" }, 1],
  [{ mode: "star", ...BLOCKS }, 2],
  [{ mode: "ring" }, 2],
] as const;

for (const [options, ranks] of ASKED) {
  const name = `${options.mode}, ${ranks} ranks`;
  const run = { ...SIZES, options, ranks, open: () => openCpuDevice({ threads: 1 }) };

  Deno.test(`an answer that is longer than a window moves its keys along: ${name}`, async () => {
    await checkSame({ ...run, lengths: [300, 1500], chunkTokens: 128, answerTokens: 700 });
  });

  Deno.test(`a context that is asked again has what its next query sees: ${name}`, async () => {
    const again = { isAskedAgain: true, lengths: [1500, 2000], answerTokens: 150 };
    const found = await checkSame({ ...run, ...again });
    assert(found < 1, `${found} of the keys`);
  });
}

for (const anchorTokens of [1536, 256]) {
  const test =
    `of an anchor that is sent no key goes that no window reaches: ${anchorTokens} tokens`;
  Deno.test({ name: test, ignore: folder === undefined }, () =>
    withFakeGpu(folder, async () => {
      const options = { mode: "star", blockTokens: 1536, anchorTokens } as const;
      const open = (ordinal: number) => openCudaDevice({ ordinal });
      const run = { ...SIZES, options, ranks: 2, open, lengths: [3000, 2900] };
      const sent = { ...run, sendsAnchor: true };
      const found = await checkSame(sent);
      assert(found < 1, `${found} of the keys`);
      // Of rank 1 first how often it has encoded the anchor.
      const [, [passes, ...received] = []] = (await runKept(sent, { keepsAll: false })).ranks;
      const [, [ownPasses, ...encoded] = []] = (await runKept(run, { keepsAll: false })).ranks;
      assertEquals([passes, ownPasses], [[0, 0], [1, 1]]);
      assertEquals(received, encoded);
    }, { FAKE_GPUS: "2" }));
}

Deno.test({
  name: "recorded steps go on when the keys of a window are moved along",
  ignore: folder === undefined,
}, () =>
  withFakeGpu(folder, async () => {
    const open = (ordinal: number) => openCudaDevice({ ordinal });
    const run = { ...SIZES, options: { mode: "dense" } as const, ranks: 1, open };
    await checkSame({ ...run, lengths: [300, 1500], chunkTokens: 128, answerTokens: 700 });
  }));
