/**
 * Cases of a product of rows with a matrix, which two ops compute: one for many rows, one for the
 * rows of a decode step.
 *
 * @module
 */
import type { Device, DType } from "../../lib/device/device.ts";
import type { MatmulParams } from "../../lib/ffi/params.ts";
import type { MatmulArguments } from "../../lib/ops/matmul.ts";
import type { Scene } from "./refusal.ts";
import type { TwinCase } from "./twin.ts";

/** The sizes of a case. */
export interface ProductSizes {
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly x?: DType;
  readonly weight?: DType;
  readonly accumulate?: boolean;
  /** Columns that x and out have besides those that are used. */
  readonly gap?: number;
}

/** What a GPU computes with. */
export const BF16 = { x: "bf16", weight: "bf16" } as const;

/**
 * Sums of up to 4,096 products of variance 1: the numbers are near sqrt(k), at most 200, and the order
 * of the additions moves them by about sqrt(k) * 2^-24 of that, some 5e-4 at worst.
 */
export const PRODUCT_TOLERANCE = { absolute: 5e-4, relative: 1e-5, cosine: 1e-9 } as const;

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
];

/** The cases of one of the two ops. */
export function productCases(
  all: readonly ProductSizes[],
  product: (device: Device, args: MatmulArguments) => Promise<void>,
): TwinCase[] {
  return all.map(({ m, n, k, x = "f32", weight = "f32", accumulate = false, gap = 0 }) => ({
    name: `${m} x ${n} x ${k}, ${x} by ${weight}${accumulate ? ", added" : ""}, gap ${gap}`,
    run: async (bench): Promise<void> => {
      const wide = await bench.floats("x", [m, k + gap], { dtype: x });
      const initial = await bench.floats("initial", [m, n + gap]);
      const out = await bench.outputFrom("out", initial);
      await product(bench.device, {
        out: out.columns(gap, n),
        x: wide.columns(gap, k),
        weight: await bench.floats("weight", [n, k], { dtype: weight }),
        accumulate,
      });
    },
  }));
}

/** A call that is allowed: [2, 8] by [4, 8]. */
export function productParams(scene: Scene): MatmulParams {
  return {
    out: scene.zeros("f32", [2, 4]),
    x: scene.zeros("f32", [2, 8]),
    weight: scene.zeros("f32", [4, 8]),
    xDtype: 0,
    weightDtype: 0,
    accumulate: 0,
    m: 2,
    n: 4,
    k: 8,
    xStride: 8,
    outStride: 4,
  };
}

/** Faults of that call: strides below the row's length; bf16 activations with f32 weights. */
export const PRODUCT_FAULTS = [
  ["xDtype", 1],
  ["xDtype", 2],
  ["weightDtype", 2],
  ["weightDtype", 3],
  ["xStride", 7],
  ["outStride", 3],
] as const;
