/**
 * @module
 */
import type { DType } from "../../lib/device/device.ts";
import { KernelError } from "../../lib/errors.ts";
import { attentionDecode } from "../../lib/ops/attention_decode.ts";
import { assertEquals, assertRejects } from "../helpers/assert.ts";
import { makeSequence } from "../helpers/attention.ts";
import { withCpu } from "../helpers/device.ts";
import { Random } from "../helpers/random.ts";
import { refusalTest } from "../helpers/refusal.ts";
import { BF16_STEP, F32_SUMS, GPU_ATTENTION } from "../helpers/tolerances.ts";
import { Bench, type TwinCase, twinTest } from "../helpers/twin.ts";

interface Sizes {
  readonly tokens: number;
  /** Keys in the cache; rows beyond them are NaN. */
  readonly count: number;
  readonly capacity: number;
  readonly causal: boolean;
  readonly qHeads: number;
  readonly kvHeads: number;
  readonly headDim: 64 | 128;
  readonly kvDtype?: DType;
  readonly outDtype?: DType;
}

const SIZES: readonly Sizes[] = [
  { tokens: 1, count: 1, capacity: 1, causal: true, qHeads: 1, kvHeads: 1, headDim: 64 },
  { tokens: 1, count: 0, capacity: 9, causal: true, qHeads: 4, kvHeads: 1, headDim: 64 },
  { tokens: 2, count: 0, capacity: 0, causal: false, qHeads: 4, kvHeads: 1, headDim: 64 },
  { tokens: 0, count: 4, capacity: 9, causal: true, qHeads: 4, kvHeads: 1, headDim: 64 },
  // The first queries of a causal call see no key at all.
  { tokens: 5, count: 3, capacity: 9, causal: true, qHeads: 2, kvHeads: 1, headDim: 64 },
  { tokens: 3, count: 127, capacity: 128, causal: true, qHeads: 8, kvHeads: 2, headDim: 128 },
  { tokens: 16, count: 129, capacity: 200, causal: true, qHeads: 4, kvHeads: 4, headDim: 64 },
  { tokens: 16, count: 128, capacity: 128, causal: false, qHeads: 8, kvHeads: 1, headDim: 64 },
  {
    tokens: 1,
    count: 5_001,
    capacity: 6_000,
    causal: true,
    qHeads: 8,
    kvHeads: 2,
    headDim: 64,
    kvDtype: "bf16",
  },
  {
    tokens: 7,
    count: 1_500,
    capacity: 1_500,
    causal: true,
    qHeads: 8,
    kvHeads: 1,
    headDim: 128,
    kvDtype: "bf16",
    outDtype: "bf16",
  },
  {
    tokens: 2,
    count: 66_000,
    capacity: 66_001,
    causal: false,
    qHeads: 1,
    kvHeads: 1,
    headDim: 64,
    kvDtype: "bf16",
  },
];

/** The heads of real models, and groups that fill more than one tile of rows. */
const GPU_SIZES: readonly Sizes[] = [
  { tokens: 1, count: 4_097, capacity: 8_192, causal: true, qHeads: 32, kvHeads: 8, headDim: 128 },
  { tokens: 3, count: 1_000, capacity: 1_001, causal: true, qHeads: 12, kvHeads: 1, headDim: 64 },
  {
    tokens: 16,
    count: 777,
    capacity: 4_096,
    causal: true,
    qHeads: 8,
    kvHeads: 2,
    headDim: 128,
    outDtype: "bf16",
  },
  { tokens: 16, count: 20, capacity: 9_000, causal: false, qHeads: 24, kvHeads: 8, headDim: 128 },
];

function decodeCases(all: readonly Sizes[]): TwinCase[] {
  return all.map((sizes) => {
    const { tokens, count, capacity, causal, qHeads, kvHeads, headDim } = sizes;
    const { kvDtype = "f32", outDtype = "f32" } = sizes;
    return {
      bf16: kvDtype === "bf16",
      name: `${tokens} queries, ${count} of ${capacity} ${kvDtype} keys, ` +
        `${qHeads}/${kvHeads} heads of ${headDim}, ${causal ? "causal" : "all"}`,
      run: async (bench) => {
        const unread = (token: number): boolean => token >= count;
        const { q, keys, scale } = await makeSequence(bench, {
          ...{ tokens, keyTokens: capacity, qHeads, kvHeads, headDim, kvDtype },
          unread,
        });
        await attentionDecode(bench.device, {
          out: await bench.output("out", outDtype, q.shape),
          lse: await bench.output("lse", "f32", [tokens, qHeads]),
          q,
          keys,
          keyCount: await bench.data("keyCount", {
            dtype: "i32",
            shape: [1],
            make: () => Int32Array.of(count),
          }),
          causal,
          scale,
        });
      },
    };
  });
}

twinTest("attentionDecode()", {
  tolerance: { f32: F32_SUMS, bf16: BF16_STEP },
  cases: decodeCases(SIZES),
  gpu: { tolerance: GPU_ATTENTION, cases: decodeCases(GPU_SIZES) },
});

Deno.test("attentionDecode() throws if the number of keys is out of range", async () => {
  await withCpu(async (device) => {
    using bench = new Bench(device, { inputs: new Map(), random: new Random(8) });
    const sizes = { tokens: 1, keyTokens: 10, qHeads: 1, kvHeads: 1, headDim: 64 } as const;
    const { q, keys, scale } = await makeSequence(bench, sizes);
    const out = await bench.output("out", "f32", q.shape);
    const before = await out.toBytes();
    const keyCount = await bench.ints("keyCount", [1], { low: 0, high: 1 });
    for (const count of [11, -1, 2 ** 31 - 1]) {
      await keyCount.writeFrom(Int32Array.of(count));
      const error = await assertRejects(
        () => attentionDecode(device, { out, q, keys, keyCount, causal: true, scale }),
        KernelError,
        "Cannot run sx_attention_decode with out [1, 1, 64] f32",
      );
      assertEquals(error.status, "SX_INVALID_ARGUMENT");
    }
    assertEquals(await out.toBytes(), before);
  });
});

refusalTest("sx_attention_decode", (scene) => ({
  params: {
    out: scene.zeros("f32", [2, 2, 64]),
    lseLog2: scene.zeros("f32", [2, 2]),
    q: scene.zeros("f32", [2, 2, 64]),
    keys: scene.zeros("f32", [1, 4, 64]),
    values: scene.zeros("f32", [1, 4, 64]),
    keyCount: scene.ints([3]),
    outDtype: 0,
    qDtype: 0,
    kvDtype: 0,
    causal: 1,
    qTokens: 2,
    keyCapacity: 4,
    qHeads: 2,
    kvHeads: 1,
    headDim: 64,
    tokenStride: 64,
    headStride: 256,
    scale: 0.125,
  },
  unchecked: ["lseLog2"],
  bf16OnGpu: ["qDtype", "kvDtype"],
  faults: [["qTokens", 17], ["qDtype", 1], ["headDim", 63], ["kvHeads", 0]],
}));
