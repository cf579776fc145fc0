/**
 * Cases of a product of rows with a matrix, which two ops compute: one for many rows, one for the
 * rows of a decode step.
 *
 * @module
 */
import type { Device, DType } from "../../lib/device/device.ts";
import type { Int8Matrix } from "../../lib/device/int8_matrix.ts";
import { Fp8Matrix } from "../../lib/device/fp8_matrix.ts";
import type { MatmulParams } from "../../lib/ffi/params.ts";
import type { MatmulArguments } from "../../lib/ops/matmul.ts";
import { quantize } from "../../lib/ops/quantize.ts";
import type { Random } from "./random.ts";
import type { Scene } from "./refusal.ts";
import { BF16_STEP } from "./tolerances.ts";
import type { Bench, TwinCase } from "./twin.ts";

/** The sizes of a case. */
export interface ProductSizes {
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly x?: DType;
  readonly weight?: DType;
  readonly accumulate?: boolean;
  /** The result's dtype. @default {"f32"} */
  readonly out?: "f32" | "bf16";
  /** Columns that x and out have before those that are used. */
  readonly gap?: number;
  /** Columns that out has behind those that are used. */
  readonly behind?: number;
}

/** What a GPU computes with. */
export const BF16 = { x: "bf16", weight: "bf16" } as const;

/** The same with weights of 8 bits. */
export const F8_WEIGHT = { x: "bf16", weight: "f8e4m3" } as const;
/** Both of 8 bits, which a GPU's library does not take. */
export const F8_BOTH = { x: "f8e4m3", weight: "f8e4m3" } as const;

/**
 * Sums of up to 4,096 products of variance 1: the numbers are near sqrt(k), at most 200, and the order
 * of the additions moves them by about sqrt(k) * 2^-24 of that, some 5e-4 at worst.
 */
export const PRODUCT_TOLERANCE = {
  f32: { absolute: 5e-4, relative: 1e-5, cosine: 1e-9 },
  // Sums on both sides of a rounding boundary are a step of bf16 apart.
  bf16: { ...BF16_STEP, absolute: 5e-4 },
} as const;

/** Edges of tiles, lanes and loops, few rows and many; both ops take them all. */
export const PRODUCT_SIZES: readonly ProductSizes[] = [
  { m: 1, n: 1, k: 1 },
  { m: 0, n: 5, k: 8 },
  { m: 3, n: 0, k: 8, ...BF16 },
  { m: 1, n: 257, k: 64 },
  { m: 1, n: 256, k: 576, weight: "bf16" },
  { m: 2, n: 31, k: 1023, weight: "bf16", accumulate: true },
  { m: 3, n: 64, k: 100, ...BF16 },
  { m: 5, n: 7, k: 9, gap: 3 },
  { m: 7, n: 33, k: 1_001, ...BF16, gap: 1 },
  { m: 8, n: 130, k: 256, weight: "bf16", gap: 5 },
  { m: 9, n: 127, k: 129, accumulate: true, gap: 1 },
  { m: 16, n: 19, k: 24, ...BF16, gap: 8 },
  { m: 17, n: 33, k: 65, ...BF16, accumulate: true },
  { m: 17, n: 33, k: 65, weight: "bf16" },
  { m: 40, n: 50, k: 1_160, ...BF16 },
  { m: 70, n: 35, k: 320, ...BF16, gap: 2 },
  { m: 127, n: 96, k: 256, ...BF16, accumulate: true },
  { m: 128, n: 256, k: 256, weight: "bf16" },
  { m: 129, n: 259, k: 131, weight: "bf16", gap: 7 },
  { m: 130, n: 100, k: 77, ...BF16, gap: 2 },
  { m: 130, n: 20, k: 96, weight: "bf16" },
  { m: 1, n: 35, k: 72, ...BF16, out: "bf16" },
  { m: 6, n: 31, k: 1_023, weight: "bf16", gap: 3, out: "bf16" },
  { m: 33, n: 130, k: 256, ...BF16, gap: 2, out: "bf16" },
  { m: 530, n: 20, k: 40, ...BF16, gap: 5, out: "bf16" },
  { m: 1, n: 1, k: 1, ...F8_WEIGHT },
  { m: 0, n: 3, k: 8, ...F8_WEIGHT },
  { m: 3, n: 64, k: 112, ...F8_WEIGHT },
  { m: 7, n: 33, k: 1_001, ...F8_WEIGHT, gap: 1 },
  { m: 16, n: 19, k: 48, ...F8_WEIGHT, gap: 8 },
  { m: 17, n: 33, k: 65, ...F8_WEIGHT, accumulate: true },
  { m: 40, n: 50, k: 2_320, ...F8_WEIGHT },
  { m: 70, n: 35, k: 320, ...F8_WEIGHT, gap: 2 },
  { m: 129, n: 259, k: 131, weight: "f8e4m3", gap: 7 },
  { m: 1, n: 257, k: 64, ...F8_BOTH },
  { m: 33, n: 48, k: 160, ...F8_BOTH, accumulate: true },
  { m: 20, n: 33, k: 65, ...F8_WEIGHT, gap: 1, out: "bf16" },
  { m: 33, n: 48, k: 160, ...F8_BOTH, out: "bf16" },
  { m: 5, n: 7, k: 9, ...F8_BOTH },
];

/** The cases of one of the two ops. */
export function productCases(
  all: readonly ProductSizes[],
  product: (device: Device, args: MatmulArguments) => Promise<void>,
): TwinCase[] {
  return all.map((
    { m, n, k, x = "f32", weight = "f32", accumulate = false, gap = 0, behind = 0, out: to },
  ) => ({
    name: `${m} x ${n} x ${k}, ${x} by ${weight}${accumulate ? ", added" : ""}, gap ${gap}` +
      (behind > 0 ? `, ${behind} behind` : "") +
      (to === "bf16" ? ", rounded" : ""),
    cpuOnly: weight === "f8e4m3" && x !== "bf16",
    run: async (bench): Promise<void> => {
      const initial = await bench.floats("initial", [m, gap + n + behind], {
        dtype: to ?? "f32",
      });
      const out = await bench.outputFrom("out", initial);
      const isRounded = x === "f8e4m3";
      const wide = isRounded
        ? undefined
        : (await bench.floats("x", [m, k + gap], { dtype: x })).columns(gap, k);
      await product(bench.device, {
        out: out.columns(gap, n),
        x: wide ?? await fp8Matrix(bench, "x", [m, k]),
        weight: await weightOf(bench, [n, k], weight),
        accumulate,
      });
    },
  }));
}

/** A random matrix of weights; in e4m3 it has scales. */
export async function weightOf(
  bench: Bench,
  shape: readonly [number, number],
  dtype: DType,
): Promise<MatmulArguments["weight"]> {
  return dtype === "f8e4m3"
    ? await fp8Matrix(bench, "weight", shape)
    : await bench.floats("weight", shape, { dtype });
}

/** A random matrix with scales of at most 1; one is 0, and one NaN, where there are so many. */
async function fp8Matrix(
  bench: Bench,
  label: string,
  shape: readonly [number, number],
): Promise<Fp8Matrix> {
  const scales = await bench.data(`scales of ${label}`, {
    dtype: "f32",
    shape: [shape[0]],
    make: (size, random) => {
      const scales = random.floats(size, 1).map((value) => Math.min(1, Math.abs(value)));
      if (size > 20) [scales[11], scales[17]] = [0, NaN];
      return scales;
    },
  });
  return new Fp8Matrix({ codes: await bench.floats(label, shape, { dtype: "f8e4m3" }), scales });
}

/** Numbers of one case of a product with weights in 8 bits, by what they are hard for. */
export type Int8Data = "usual" | "extreme scales" | "zero rows" | "an outlier" | "not finite";

/** A product with weights in 8 bits. */
export interface Int8Sizes
  extends Pick<ProductSizes, "m" | "n" | "k" | "x" | "accumulate" | "gap" | "behind"> {
  /** @default {"usual"} */
  readonly data?: Int8Data;
  /** The weights' dtype before they are rounded. @default {"bf16"} */
  readonly from?: "f32" | "bf16" | "i8";
}

/** Edges of panels, lanes, slabs and tiles; few rows and many. */
export const INT8_SIZES: readonly Int8Sizes[] = [
  { m: 1, n: 1, k: 1 },
  { m: 0, n: 5, k: 8 },
  { m: 3, n: 0, k: 8, x: "bf16" },
  { m: 1, n: 257, k: 64, x: "bf16" },
  { m: 1, n: 256, k: 576, from: "f32" },
  { m: 2, n: 31, k: 1_023, accumulate: true, x: "bf16" },
  { m: 3, n: 64, k: 100, x: "bf16", from: "i8" },
  { m: 4, n: 48, k: 2_500, x: "bf16", gap: 3 },
  { m: 5, n: 7, k: 9, gap: 3 },
  { m: 7, n: 33, k: 1_001, x: "bf16", gap: 1, data: "an outlier" },
  { m: 8, n: 130, k: 256, gap: 5, data: "zero rows" },
  { m: 9, n: 127, k: 129, accumulate: true, gap: 1 },
  { m: 12, n: 40, k: 1_088, x: "bf16", data: "extreme scales" },
  { m: 13, n: 65, k: 520, x: "bf16", from: "i8" },
  { m: 16, n: 19, k: 24, x: "bf16", gap: 8 },
  { m: 17, n: 33, k: 65, x: "bf16", accumulate: true, data: "zero rows" },
  { m: 33, n: 50, k: 1_160, x: "bf16", data: "an outlier" },
  { m: 40, n: 300, k: 192, data: "not finite" },
  { m: 6, n: 70, k: 192, data: "not finite" },
  { m: 3, n: 40, k: 1_001, x: "bf16", data: "not finite" },
  { m: 70, n: 35, k: 320, x: "bf16", gap: 2 },
  { m: 129, n: 259, k: 131, gap: 7, data: "extreme scales" },
  { m: 600, n: 97, k: 640, x: "bf16", accumulate: true },
  { m: 20, n: 20, k: 8_200, x: "bf16", data: "an outlier" },
  // Results that go past a CPU's caches: in whole lines, with second digits, and with a part of a line
  // at the end of each row. Rows that begin inside of lines do not go past them.
  { m: 300, n: 3_536, k: 100, x: "bf16", gap: 16 },
  { m: 300, n: 3_536, k: 72, data: "an outlier" },
  { m: 300, n: 3_541, k: 72, x: "bf16", behind: 11 },
  { m: 300, n: 3_541, k: 72, x: "bf16" },
];

/** Numbers that are hard to round: by rows of `width`. */
export function int8Numbers(
  random: Random,
  sizes: { count: number; width: number; data: Int8Data },
): Float32Array<ArrayBuffer> {
  const { count, width, data } = sizes;
  const values = random.floats(count, 1);
  return values.map((value, i) => {
    const [row, column] = [Math.floor(i / width), i % width];
    // From below the smallest row that counts to the largest that has finite products.
    if (data === "extreme scales") return value * 2 ** (row % 9 * 30 - 125);
    if (data === "zero rows") return row % 3 === 1 ? 0 : value;
    if (data === "an outlier") return column === width - 1 ? 1_000 * value : value;
    if (data === "not finite" && column === row % width) {
      return [NaN, Infinity, value][row % 3] ?? 0;
    }
    return value;
  });
}

/** The cases of one of the two ops with weights in 8 bits: with the twin's bits on every CPU. */
export function int8Cases(
  product: (device: Device, args: MatmulArguments) => Promise<void>,
): TwinCase[] {
  return INT8_SIZES.map((sizes) => {
    const { m, n, k, x = "f32", accumulate = false, gap = 0, behind = 0 } = sizes;
    const { data = "usual", from = "bf16" } = sizes;
    return {
      name: `${m} x ${n} x ${k}, ${x} by 8 bits of ${from}${accumulate ? ", added" : ""}, ${data}` +
        (behind > 0 ? `, ${behind} behind` : ""),
      exact: true,
      cpuOnly: true,
      run: async (bench): Promise<void> => {
        const wide = await bench.data("x", {
          dtype: x,
          shape: [m, k + gap],
          make: (count, random) => int8Numbers(random, { count, width: k + gap, data }),
        });
        const initial = await bench.floats("initial", [m, gap + n + behind]);
        const out = await bench.outputFrom("out", initial);
        await product(bench.device, {
          out: out.columns(gap, n),
          x: wide.columns(gap, k),
          weight: await int8Weight(bench, { n, k, data, from }),
          accumulate,
        });
      },
    };
  });
}

/** A weight in 8 bits. */
export async function int8Weight(
  bench: Bench,
  sizes: { n: number; k: number; data: Int8Data; from: "f32" | "bf16" | "i8" },
): Promise<Int8Matrix> {
  const { n, k, data, from } = sizes;
  const source = await bench.data("weight", {
    dtype: from,
    shape: [n, k],
    make: (count, random) =>
      from === "i8"
        ? Float32Array.from(random.ints(count, { low: -128, high: 128 }))
        : int8Numbers(random, { count, width: k, data }),
  });
  const weight = await bench.int8Output("numbers", [n, k]);
  if (from === "i8") {
    await weight.scales.writeFrom(await (await bench.floats("scales", [n])).toFloats());
  }
  await quantize(bench.device, { out: weight, in: source });
  return weight;
}

/** A call that is allowed: [2, 8] by [4, 8]. */
export function productParams(scene: Scene): MatmulParams {
  return {
    out: scene.zeros("f32", [2, 4]),
    outDtype: 0,
    x: scene.zeros("f32", [2, 8]),
    weight: scene.zeros("f32", [4, 8]),
    xDtype: 0,
    xScales: 0n,
    weightDtype: 0,
    weightScales: 0n,
    accumulate: 0,
    m: 2,
    n: 4,
    k: 8,
    xStride: 8,
    outStride: 4,
  };
}

/** What may be null in that call, and has to be. */
export const PRODUCT_NULLS = ["xScales", "weightScales"] as const;

/** Faults of that call: strides below the row's length; bf16 activations with f32 weights; no scales. */
export const PRODUCT_FAULTS = [
  ["outDtype", 2],
  ["outDtype", 3],
  ["xDtype", 5],
  ["weightDtype", 5],
  ["xDtype", 1],
  ["xDtype", 2],
  ["weightDtype", 2],
  ["weightDtype", 3],
  // Its scales are missing.
  ["weightDtype", 4],
  ["xStride", 7],
  ["outStride", 3],
] as const;
