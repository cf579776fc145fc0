/**
 * Numbers that are not finite in the inputs of the ops that work on tiles, or on several rows at a time:
 * what does not depend on such a number stays what it is. Attention's own are in the tests of its ops.
 *
 * @module
 */
import { antidiagonalScore } from "../../lib/ops/antidiagonal_score.ts";
import { matmul } from "../../lib/ops/matmul.ts";
import { matmulRows } from "../../lib/ops/matmul_rows.ts";
import { mergeStates, partElements } from "../../lib/ops/merge_states.ts";
import { tileMass } from "../../lib/ops/tile_mass.ts";
import { tileMeans } from "../../lib/ops/tile_means.ts";
import { makeSegment, makeSequence, type SequenceSizes } from "../helpers/attention.ts";
import { BF16, F8_WEIGHT, PRODUCT_TOLERANCE, weightOf } from "../helpers/products.ts";
import { BF16_STEP, F32_SUMS } from "../helpers/tolerances.ts";
import { type TwinCase, twinTest } from "../helpers/twin.ts";

interface Sizes extends SequenceSizes {
  readonly name: string;
  readonly qOffset: number;
  readonly window?: number;
}

const HEADS = { qHeads: 4, kvHeads: 2, headDim: 64 } as const;

/** Of each call some row tiles, or tiles, have nothing to do with the odd numbers. */
const SEQUENCES: readonly Sizes[] = [
  {
    ...{ name: "a key of the third tile", ...HEADS, tokens: 512, qOffset: 0, keyTokens: 512 },
    oddKeys: [{ token: 300, dim: 3, value: NaN }],
  },
  {
    ...{ name: "a key that windows leave behind", ...HEADS, tokens: 640, qOffset: 0 },
    ...{ keyTokens: 640, window: 200, oddKeys: [{ token: 130, dim: 60, value: NaN }] },
  },
  {
    ...{ name: "a key of the prefix", ...HEADS, headDim: 128, tokens: 300, qOffset: 256 },
    ...{ prefixTokens: 256, keyTokens: 300, window: 330 },
    oddKeys: [{ token: 200, dim: 100, value: NaN }],
  },
  {
    ...{ name: "infinite keys of the last tile", ...HEADS, tokens: 400, qOffset: 0 },
    keyTokens: 400,
    oddKeys: [{ token: 388, dim: 1, value: Infinity }, { token: 390, dim: 2, value: -Infinity }],
  },
  {
    ...{ name: "a query", ...HEADS, tokens: 400, qOffset: 128, prefixTokens: 128, keyTokens: 400 },
    oddQueries: [{ token: 200, dim: 5, value: NaN }],
  },
  {
    ...{ name: "a query with a window", ...HEADS, tokens: 600, qOffset: 0, keyTokens: 600 },
    ...{ window: 150, oddQueries: [{ token: 500, dim: 5, value: NaN }] },
  },
  {
    ...{ name: "the last query", ...HEADS, headDim: 128, tokens: 130, qOffset: 0 },
    ...{ keyTokens: 130, oddQueries: [{ token: 129, dim: 5, value: NaN }] },
  },
];

/** A key whose weight is 0 for the only query that sees it, and that lies in front of no other rows. */
const WEIGHTLESS: Sizes = {
  ...{ name: "a key of no weight", ...HEADS, tokens: 385, qOffset: 0, keyTokens: 385 },
  oddKeys: [{ token: 384, dim: 9, value: -Infinity }],
  oddQueries: [{ token: 384, dim: 9, value: 0.5 }],
};

const tilesOf = ({ qHeads, tokens, keyTokens, prefixTokens = 0 }: Sizes): number[] => [
  ...[qHeads, Math.ceil(tokens / 128), Math.ceil((keyTokens + prefixTokens) / 128)],
];

twinTest("antidiagonalScore() keeps numbers that are not finite to their tiles and", {
  tolerance: { f32: { absolute: 2e-4, relative: 2e-4, cosine: 1e-7 } },
  cases: SEQUENCES.flatMap((sizes) =>
    // Rows past the end of a group are zeros, and may make NaN of what is not finite.
    (sizes.tokens % 128 === 0 ? [1, 8, 16, 128] : [1, 8]).map((stride): TwinCase => ({
      name: `${sizes.name}, stride ${stride}`,
      run: async (bench) =>
        await antidiagonalScore(bench.device, {
          mass: await bench.output("mass", "f32", tilesOf(sizes)),
          ...await makeSequence(bench, sizes),
          ...{ qOffset: sizes.qOffset, window: sizes.window, stride },
        }),
    }))
  ),
});

twinTest("tileMass() keeps numbers that are not finite to their tiles and", {
  tolerance: { f32: { absolute: 2e-5, relative: 2e-5, cosine: 1e-9 } },
  cases: [...SEQUENCES, WEIGHTLESS].map((sizes): TwinCase => ({
    name: sizes.name,
    run: async (bench) =>
      await tileMass(bench.device, {
        mass: await bench.output("mass", "f32", tilesOf(sizes)),
        ...await makeSequence(bench, sizes),
        // Those of one row are not finite, either.
        lse: await bench.data("lse", {
          dtype: "f32",
          shape: [sizes.tokens, sizes.qHeads],
          make: (count, random) => {
            const all = Float32Array.from({ length: count }, () => 8 * random.unit());
            return all.fill(NaN, 3 * sizes.qHeads, 4 * sizes.qHeads);
          },
        }),
        ...{ qOffset: sizes.qOffset, window: sizes.window },
      }),
  })),
});

twinTest("tileMeans() keeps numbers that are not finite to their tiles and", {
  tolerance: { f32: F32_SUMS, bf16: BF16_STEP },
  cases: ([64, 128] as const).map((headDim): TwinCase => ({
    name: `heads of ${headDim}`,
    run: async (bench) => {
      const odd = [
        { token: 127, dim: 3, value: NaN },
        { token: 384, dim: 5, value: Infinity },
        { token: 510, dim: 7, value: -Infinity },
      ];
      const sizes = { ...HEADS, headDim, tokens: 0, keyTokens: 600, oddKeys: odd, oddValues: odd };
      const mean = (label: string) => bench.output(label, "f32", [2, 5, headDim]);
      const means = { keys: await mean("keys of tiles"), values: await mean("values of tiles") };
      await tileMeans(bench.device, {
        means: { ...means, start: 0, tokens: 5 },
        keys: await makeSegment(bench, "keys", { ...sizes, offset: 0 }),
      });
    },
  })),
});

twinTest(
  "mergeStates() takes nothing of an empty part, and keeps rows that are not finite apart and",
  {
    tolerance: { f32: F32_SUMS },
    cases: [64, 128].map((headDim): TwinCase => ({
      name: `heads of ${headDim}`,
      run: async (bench) => {
        const [parts, tokens, heads] = [3, 40, 3];
        const stride = partElements({ tokens, heads, headDim });
        await mergeStates(bench.device, {
          out: await bench.output("out", "f32", [tokens, heads, headDim]),
          parts: await bench.data("parts", {
            dtype: "f32",
            shape: [parts, stride],
            make: (count, random) => {
              const values = random.floats(count, 1);
              for (let part = 0; part < parts; part++) {
                for (let row = 0; row < tokens * heads; row++) {
                  const at = part * stride + row * headDim;
                  const lse = part * stride + tokens * heads * headDim + row;
                  if ((row + part) % 4 === 0) {
                    values[lse] = -Infinity;
                    values.fill(NaN, at, at + headDim);
                  } else if (row % 7 === part) values[lse] = NaN;
                  else if (row % 11 === part) values[at + 9] = Infinity;
                }
              }
              return values;
            },
          }),
          ...{ byScore: false, tokens, heads, headDim },
        });
      },
    })),
  },
);

/** Rows of x and of weights with and without numbers that are not finite, k whole steps and not. */
const productCases = (product: typeof matmul): TwinCase[] =>
  ([
    { m: 3, n: 40, k: 1_001, x: "f32", weight: "bf16" },
    { m: 9, n: 70, k: 130, x: "f32", weight: "f32" },
    ...[2, 7, 16, 40, 70].flatMap((m) => [
      { m, n: 70, k: 1_032, ...BF16 },
      { m, n: 33, k: 77, ...BF16 },
      { m, n: 70, k: 1_040, ...F8_WEIGHT },
    ]),
  ] as const).map(({ m, n, k, x, weight }): TwinCase => ({
    name: `${m} x ${n} x ${k}, ${x} by ${weight}`,
    run: async (bench) => {
      const rows = (label: string, count: number, odd: readonly number[]) =>
        bench.data(label, {
          dtype: label === "x" ? x : weight,
          shape: [count, k],
          make: (size, random) => {
            const values = random.floats(size, 1);
            for (const row of odd) values.fill(NaN, row * k, (row + 1) * k);
            values[(count - 1) * k + 5] = Infinity;
            return values;
          },
        });
      await product(bench.device, {
        out: await bench.output("out", "f32", [m, n]),
        x: await rows("x", m, m > 9 ? [1, 9] : [0]),
        weight: weight === "f8e4m3"
          ? await weightOf(bench, [n, k], weight)
          : await rows("weight", n, [2, 17]),
      });
    },
  }));

const PRODUCTS = { tolerance: PRODUCT_TOLERANCE } as const;
twinTest("matmul() keeps rows that are not finite apart and", {
  ...PRODUCTS,
  cases: productCases(matmul),
});
twinTest("matmulRows() keeps rows that are not finite apart and", {
  ...PRODUCTS,
  cases: productCases(matmulRows),
});
