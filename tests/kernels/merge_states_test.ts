/**
 * @module
 */
import type { DType } from "../../lib/device/device.ts";
import { mergeStates, partElements } from "../../lib/ops/merge_states.ts";
import { assertEquals } from "../helpers/assert.ts";
import { withCpu } from "../helpers/device.ts";
import { Random } from "../helpers/random.ts";
import { refusalTest } from "../helpers/refusal.ts";
import { BF16_STEP, F32_SUMS } from "../helpers/tolerances.ts";
import { Bench, type TwinCase, twinTest } from "../helpers/twin.ts";

interface Sizes {
  readonly parts: number;
  readonly tokens: number;
  readonly heads: number;
  readonly headDim: number;
  readonly byScore: boolean;
  readonly outDtype?: DType;
  /** Numbers between two parts. */
  readonly gap?: number;
  /** Whether a part's log-sum-exp of a token and head is -inf. */
  readonly empty?: (part: number, row: number) => boolean;
}

const SIZES: readonly Sizes[] = [
  { parts: 1, tokens: 1, heads: 1, headDim: 64, byScore: false },
  { parts: 2, tokens: 0, heads: 4, headDim: 64, byScore: false },
  { parts: 2, tokens: 127, heads: 4, headDim: 64, byScore: false, gap: 5 },
  { parts: 3, tokens: 129, heads: 3, headDim: 128, byScore: false, outDtype: "bf16" },
  { parts: 5, tokens: 16, heads: 8, headDim: 64, byScore: true, gap: 3 },
  { parts: 1, tokens: 3, heads: 2, headDim: 128, byScore: true },
  {
    parts: 4,
    tokens: 33,
    heads: 2,
    headDim: 64,
    byScore: false,
    // Some rows have one empty part, some only empty ones.
    empty: (part, row) => row % 7 === 0 || (row + part) % 3 === 0,
  },
  { parts: 2, tokens: 66_000, heads: 1, headDim: 64, byScore: false },
];

async function runMerge(bench: Bench, sizes: Sizes): Promise<void> {
  const { parts, tokens, heads, headDim, byScore, outDtype = "f32", gap = 0 } = sizes;
  const { empty = () => false } = sizes;
  const stride = partElements({ tokens, heads, headDim }) + gap;
  const rows = tokens * heads;
  await mergeStates(bench.device, {
    out: await bench.output("out", outDtype, [tokens, heads, headDim]),
    parts: await bench.data("parts", {
      dtype: "f32",
      shape: [parts, stride],
      make: (count, random) => {
        const values = random.floats(count, 2);
        for (let part = 0; part < parts; part++) {
          const lse = part * stride + rows * headDim;
          for (let row = 0; row < rows; row++) {
            // Large against their differences, as over a long context.
            values[lse + row] = empty(part, row) ? -Infinity : 1000 + (values[lse + row] ?? 0);
          }
        }
        return values;
      },
    }),
    byScore,
    tokens,
    heads,
    headDim,
  });
}

twinTest("mergeStates()", {
  tolerance: { f32: F32_SUMS, bf16: BF16_STEP },
  cases: SIZES.map((sizes): TwinCase => ({
    name: `${sizes.parts} parts of ${sizes.tokens} tokens, ${sizes.heads} heads of ` +
      `${sizes.headDim}, by ${sizes.byScore ? "score" : "lse"}${sizes.empty ? ", some empty" : ""}`,
    run: async (bench) => await runMerge(bench, sizes),
  })),
});

Deno.test("mergeStates() gives zeros where all parts are empty", async () => {
  await withCpu(async (device) => {
    using bench = new Bench(device, { inputs: new Map(), random: new Random(9) });
    const sizes = { parts: 2, tokens: 2, heads: 2, headDim: 64, byScore: false };
    await runMerge(bench, { ...sizes, empty: () => true });
    const [out] = await bench.collect();
    assertEquals(out?.bytes, new Uint8Array(2 * 2 * 64 * 4));
  });
});

refusalTest("sx_merge_states", (scene) => ({
  params: {
    out: scene.zeros("f32", [2, 2, 64]),
    parts: scene.zeros("f32", [2, 262]),
    outDtype: 0,
    byScore: 0,
    partCount: 2,
    partStride: 262,
    tokens: 2,
    heads: 2,
    headDim: 64,
  },
  faults: [["outDtype", 2], ["outDtype", 3], ["partStride", 259]],
}));
