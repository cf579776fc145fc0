/**
 * Products of e4m3 by e4m3 on a GPU that has them: against the twin, and that a row's bits do not depend
 * on the rows beside it, which is nothing that cuBLASLt promises.
 *
 * @module
 */
import { openCpuDevice } from "../../lib/device/cpu.ts";
import { openCudaDevice } from "../../lib/device/cuda.ts";
import type { Device } from "../../lib/device/device.ts";
import { loadModel, type LoadOptions } from "../../mod.ts";
import { assert, assertEquals, assertGreater } from "../helpers/assert.ts";
import { assertClose, assertSameBytes } from "../helpers/compare.ts";
import { HAS_GPU } from "../helpers/device.ts";
import { MODEL } from "../helpers/prompts.ts";
import { Random } from "../helpers/random.ts";
import { ScaledFactors, type ScaledSizes } from "../helpers/scaled_products.ts";

/** A test on a GPU whose cuBLASLt multiplies rows with scales; it does nothing on another. */
function fp8Test(name: string, fn: (device: Device) => Promise<void>): void {
  Deno.test({
    name,
    ignore: !HAS_GPU,
    fn: async () => {
      using device = await openCudaDevice();
      if (device.fp8Rows === undefined) return;
      await fn(device);
      assertEquals(device.liveAllocations, 0);
    },
  });
}

/**
 * Numbers of variance 1 times scales up to 64, whose sums over a depth grow with its square root. The
 * tensor cores keep some 14 bits of a sum, and drop what is below at each of k / 32 steps, so that a sum
 * that ends small has lost a part of what it was on its way.
 */
const fast = (k: number) => ({ absolute: Math.sqrt(k) / 2, relative: 1e-2, cosine: 1e-5 });

fp8Test("products of e4m3 on a GPU equal their scalar twin", async (device) => {
  using twin = await openCpuDevice({ threads: 1, instructionSet: "scalar", tests: true });
  const random = new Random(41);
  for (
    const [sizes, options] of [
      [{ m: 17, n: 512, k: 1_024 }, {}],
      [{ m: 129, n: 272, k: 144 }, { accumulate: true }],
      [{ m: 300, n: 96, k: 4_096 }, { gap: 32, accumulate: true }],
      [{ m: 64, n: 48, k: 64 }, { gap: 16 }],
      [{ m: 40, n: 64, k: 14_336 }, {}],
    ] as const
  ) {
    using factors = await ScaledFactors.random(device, { sizes, random, faults: [3] });
    using same = await factors.copyTo(twin);
    assertClose(await factors.multiply(options), {
      expected: await same.multiply(options),
      tolerance: fast(sizes.k),
      subject: { name: `${sizes.m} x ${sizes.n} x ${sizes.k}`, shape: [sizes.m, sizes.n] },
    });
  }
});

const CONTEXT = "The grass is green. The sky is blue. The sun is yellow.\n".repeat(100);
const QUERIES = ["The grass is", "The sky is", "The sun is"];

fp8Test(
  "weights in e4m3 on a GPU give nearly bf16's logits, the same ones in any batch",
  async () => {
    const ask = async (
      options: LoadOptions,
    ): Promise<(readonly (readonly [number, number])[])[]> => {
      await using model = await loadModel(MODEL, { device: "cuda", ...options });
      const topLogits = model.config.vocabularySize;
      const answers = await Promise.all(
        QUERIES.map((query) =>
          model.generate({ context: CONTEXT, query }, { tokensToGenerate: 6, topLogits })
        ),
      );
      return answers.map(({ topLogits }) => topLogits.toSorted(([a], [b]) => a - b));
    };
    const exact = await ask({});
    const rounded = await ask({ weights: "fp8" });
    for (const [i, logits] of rounded.entries()) {
      let [dot, own, other] = [0, 0, 0];
      for (const [at, [, logit]] of logits.entries()) {
        const expected = exact[i]?.[at]?.[1] ?? NaN;
        dot += logit * expected;
        own += logit ** 2;
        other += expected ** 2;
      }
      assertGreater(dot / Math.sqrt(own * other), 0.997);
    }
    assert(String(rounded) !== String(exact), "8 bits must round");
    assertEquals(await ask({ weights: "fp8", batchSize: 3 }), rounded);
  },
);

fp8Test("a product of e4m3 on a GPU can be recorded", async (device) => {
  const sizes = { m: 64, n: 1_024, k: 4_096 };
  using factors = await ScaledFactors.random(device, { sizes, random: new Random(43) });
  assertEquals(await factors.replay(), await factors.multiply());
});

/** The products of an 8B model's layer, of a small one's, and of starx-tiny's size. */
const MATRICES: readonly ScaledSizes[] = [
  { m: 2_304, n: 6_144, k: 4_096 },
  { m: 8_192, n: 4_096, k: 4_096 },
  { m: 1_100, n: 28_672, k: 4_096 },
  { m: 2_304, n: 4_096, k: 14_336 },
  { m: 2_304, n: 1_152, k: 576 },
  { m: 2_304, n: 256, k: 128 },
];

fp8Test("a row of a product of e4m3 on a GPU has its bits whatever the rows", async (device) => {
  for (const sizes of MATRICES) {
    const { m, n, k } = sizes;
    using factors = await ScaledFactors.random(device, { sizes, random: new Random(42) });
    for (const accumulate of [false, true]) {
      const all = await factors.multiply({ accumulate });
      assert(all.some((value) => value !== 1));
      for (
        const [first, count] of [
          [0, 17],
          [1_000, 17],
          [8, 64],
          [100, 100],
          [500, 512],
          [76, m - 80],
          [4, 1_024],
          [0, m - 1],
        ] as const
      ) {
        const rows = await factors.multiply({ first, count, accumulate });
        const expected = all.subarray(first * n, (first + count) * n);
        const bytesOf = (values: Float32Array) =>
          new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
        assertSameBytes(bytesOf(rows), {
          expected: bytesOf(expected),
          subject: {
            name: `rows ${first} to ${first + count} of ${n} x ${k}`,
            shape: [count, n],
          },
        });
      }
    }
  }
});
