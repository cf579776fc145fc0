/**
 * Decode attention over keys and values of 8 bits whose rows are of very different sizes, zeros, or NaN
 * where only some queries see them.
 *
 * @module
 */
import { attentionDecode } from "../../lib/ops/attention_decode.ts";
import { kvStore } from "../../lib/ops/kv_store.ts";
import type { Random } from "../helpers/random.ts";
import { BF16_INPUTS, F32_SUMS, GPU_ATTENTION } from "../helpers/tolerances.ts";
import { type Bench, type TwinCase, twinTest } from "../helpers/twin.ts";

interface Sizes {
  readonly name: string;
  readonly tokens: number;
  readonly count: number;
  readonly qHeads: number;
  readonly kvHeads: number;
  readonly headDim: 64 | 128;
  readonly window?: number;
  /** What the elements of a row are multiplied by. */
  readonly keyFactor?: (row: number) => number;
  readonly valueFactor?: (row: number) => number;
}

const SIZES: readonly Sizes[] = [
  {
    ...{ name: "values of 2^-40 to 1", tokens: 1, count: 700, qHeads: 8, kvHeads: 2, headDim: 128 },
    valueFactor: (row) => 2 ** -(row * 7 % 41),
  },
  {
    ...{ name: "values of zero", tokens: 4, count: 300, qHeads: 2, kvHeads: 1, headDim: 64 },
    valueFactor: () => 0,
  },
  {
    ...{ name: "keys of 2^-60 to 2", tokens: 2, count: 999, qHeads: 4, kvHeads: 1, headDim: 64 },
    keyFactor: (row) => 2 ** (1 - row * 5 % 62),
  },
  {
    ...{ name: "tiny keys, large values", tokens: 1, count: 4_000, qHeads: 4, kvHeads: 1 },
    ...{ headDim: 128, keyFactor: () => 2 ** -30, valueFactor: () => 8 },
  },
  // Each of these rows is hidden from some queries, which know nothing of its NaN.
  {
    ...{ name: "NaN behind the first queries", tokens: 5, count: 700, qHeads: 6, kvHeads: 1 },
    ...{ headDim: 128, valueFactor: (row) => row === 698 ? NaN : 1 },
  },
  {
    ...{ name: "NaN in front of a window", tokens: 4, count: 900, qHeads: 4, kvHeads: 2 },
    ...{ headDim: 64, window: 300, keyFactor: (row) => row <= 598 ? NaN : 1 },
  },
  {
    ...{ name: "values of NaN in front of a window", tokens: 4, count: 900, qHeads: 4, kvHeads: 2 },
    ...{ headDim: 64, window: 300, valueFactor: (row) => row <= 598 ? NaN : 1 },
  },
];

/** Random rows, each multiplied by its factor; rows behind the last key are NaN. */
function makeRows(
  { count, headDim }: Sizes,
  options: { rows: number; factor: ((row: number) => number) | undefined },
): (size: number, random: Random) => Float32Array<ArrayBuffer> {
  const { rows, factor = () => 1 } = options;
  return (size, random) => {
    const values = random.floats(size, 1);
    for (let i = 0; i < size; i++) {
      const row = Math.floor(i / headDim) % rows;
      values[i] = (values[i] ?? 0) * (row < count ? factor(row) : NaN);
    }
    return values;
  };
}

async function attend(bench: Bench, sizes: Sizes & { dtype: "i8" | "f8e4m3" }): Promise<void> {
  const { tokens, count, qHeads, kvHeads, headDim, window = 0, dtype } = sizes;
  const rows = count + 3;
  const shape = [kvHeads, rows, headDim];
  const floats = (label: string, factor: Sizes["keyFactor"]) =>
    bench.data(label, { dtype: "f32", shape, make: makeRows(sizes, { rows, factor }) });
  const scales = (label: string) => bench.zeros(`scales of ${label}`, "f32", [kvHeads, rows, 1]);
  const cache = {
    keys: bench.zeros("codes of keys", dtype, shape),
    values: bench.zeros("codes of values", dtype, shape),
    scales: { keys: scales("keys"), values: scales("values") },
  };
  const ints = (label: string, values: readonly number[]) =>
    bench.data(label, {
      dtype: "i32",
      shape: [values.length],
      make: () => Int32Array.from(values),
    });
  await kvStore(bench.device, {
    cache,
    keys: await floats("keys", sizes.keyFactor),
    values: await floats("values", sizes.valueFactor),
    rows: await ints("rows", Array.from({ length: rows }, (_, row) => row)),
  });
  const q = await bench.queries("q", [tokens, qHeads, headDim]);
  await attentionDecode(bench.device, {
    out: await bench.output("out", "f32", q.shape),
    lse: await bench.output("lse", "f32", [tokens, qHeads]),
    q,
    keys: { ...cache, start: 0, tokens: rows },
    keyCount: await ints("keyCount", [count]),
    ...{ causal: true, window, scale: headDim ** -0.5 },
  });
}

twinTest("attentionDecode() of keys of 8 bits", {
  tolerance: { f32: F32_SUMS, bf16: BF16_INPUTS },
  cases: (["i8", "f8e4m3"] as const).flatMap((dtype) =>
    SIZES.map((sizes): TwinCase => ({
      name: `${sizes.name}, ${dtype}`,
      bf16: true,
      run: (bench) => attend(bench, { ...sizes, dtype }),
    }))
  ),
  gpu: { tolerance: GPU_ATTENTION },
});
