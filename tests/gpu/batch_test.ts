/**
 * Samples that are decoded together on a GPU: the same bits as one by one.
 *
 * @module
 */
import { checkPlan } from "../../lib/attention/plan.ts";
import { openCudaDevice } from "../../lib/device/cuda.ts";
import { BATCH_SEED, batchPlan, checkWidths } from "../helpers/batches.ts";
import { HAS_GPU } from "../helpers/device.ts";
import {
  checkFailedSequence,
  checkStaleKeys,
  STALE_MODES,
  staleName,
} from "../helpers/stale_keys.ts";

for (
  const [name, count, widths] of [
    ["dense", 40, [2, 5, 16, 17, 40]],
    ["xattn_S16_t0.9", 12, [5, 12]],
    ["star", 12, [5, 12]],
    ["starx_p1_S16_t0.9", 12, [5]],
  ] as const
) {
  const test = `a sample has the same bits in batches of 1, ${widths.join(", ")} on a GPU: ` +
    `${name} (seed ${BATCH_SEED})`;
  Deno.test({ name: test, ignore: !HAS_GPU }, async () => {
    const plan = await batchPlan(name);
    await checkWidths(widths, { plan, dtype: "bf16", device: "cuda", count });
  });
}

for (
  const [cache, options] of [
    ["fp8", { mode: "dense" }],
    ["int8", { mode: "dense" }],
    ["fp8", { mode: "starx", blockTokens: 256, anchorTokens: 128, threshold: 0.7 }],
    ["int8", { mode: "xattn", threshold: 0.7, rest: "mean" }],
    ["int8", { decodeKeep: 0.4 }],
    ["fp8", { decodeKeep: 0.4 }],
  ] as const
) {
  const test = `a sample has the same bits in batches of 1, 5 and 12 on a GPU with a cache in ` +
    `${cache}: ${JSON.stringify(options)} (seed ${BATCH_SEED})`;
  Deno.test({ name: test, ignore: !HAS_GPU }, async () => {
    const plan = checkPlan(options);
    const run = { plan, dtype: "bf16", cache, device: "cuda", count: 12, times: 8 } as const;
    await checkWidths([5, 12], run);
  });
}

for (const decodeKeep of [0.4, { threshold: 0.5 }]) {
  const test = `a sample has the same bits in batches of 1, 5 and 12 on a GPU, keeping ` +
    `${JSON.stringify(decodeKeep)} (seed ${BATCH_SEED})`;
  Deno.test({ name: test, ignore: !HAS_GPU }, async () => {
    const plan = checkPlan({ decodeKeep });
    // Contexts of 1,000 to 3,900 tokens: tiles are chosen in all of them.
    await checkWidths([5, 12], { plan, dtype: "bf16", device: "cuda", count: 12, times: 8 });
  });
}

for (const name of ["dense", "xattn_S16_t0.9"]) {
  const test =
    `a sample of several chunks has the same bits with steps of others between them on ` +
    `a GPU: ${name} (seed ${BATCH_SEED})`;
  Deno.test({ name: test, ignore: !HAS_GPU }, async () => {
    const plan = await batchPlan(name);
    // Contexts of 3,900 to 14,550 tokens, in chunks of up to 8,192.
    await checkWidths([3], { plan, dtype: "bf16", device: "cuda", count: 6, times: 30 });
  });
}

const STALE_RUNS = [
  ...STALE_MODES,
  ...STALE_MODES.map((options) => ({ ...options, kind: "fp8" as const })),
  { ...STALE_MODES[0], kind: "int8" as const },
];

for (const options of STALE_RUNS) {
  const kind = "kind" in options ? ` in ${options.kind}` : "";
  const what = `${staleName(options)}, what free pages${kind} hold on a GPU`;
  Deno.test({ name: `${what} changes nothing`, ignore: !HAS_GPU }, async () => {
    using device = await openCudaDevice();
    await checkStaleKeys(device, options);
  });

  Deno.test(
    { name: `${what} is zeroed behind a sequence with NaN`, ignore: !HAS_GPU },
    async () => {
      using device = await openCudaDevice();
      await checkFailedSequence(device, options);
    },
  );
}
