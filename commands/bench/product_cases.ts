/**
 * The products that `bench --kernels` times, at a model's shape and with weights of its kind: those of
 * a prefill's rows, and those of a token.
 *
 * @module
 */
import { Fp8Matrix } from "../../lib/device/fp8_matrix.ts";
import { Int8Matrix, type Matrix } from "../../lib/device/int8_matrix.ts";
import type { Tensor } from "../../lib/device/tensor.ts";
import { matmul } from "../../lib/ops/matmul.ts";
import { matmulRows } from "../../lib/ops/matmul_rows.ts";
import { quantize } from "../../lib/ops/quantize.ts";
import { quantizeRows } from "../../lib/ops/quantize_rows.ts";
import type { CaseOptions, CaseTensors, KernelCase } from "./kernel_cases.ts";

/** A matrix's name, outputs and inputs. */
type MatrixSize = readonly [name: string, outputs: number, inputs: number];

/** Products with many rows, and with one: the layers of a model, and its head. */
export async function productCases(
  tensors: CaseTensors,
  options: CaseOptions,
): Promise<KernelCase[]> {
  const { config, rows, weights, head } = options;
  const { hiddenSize, intermediateSize, queryHeads, kvHeads, headDim, vocabularySize } = config;
  const sizes: readonly MatrixSize[] = [
    ["qkv", (queryHeads + 2 * kvHeads) * headDim, hiddenSize],
    ["output", hiddenSize, queryHeads * headDim],
    ["gate and up", 2 * intermediateSize, hiddenSize],
    ["down", hiddenSize, intermediateSize],
  ];
  const made = { ...options, tensors };
  const cases: KernelCase[] = [];
  for (const size of sizes) cases.push(await prefillCase(size, { ...made, kind: weights }));
  const before = cases.length;
  for (const size of sizes) cases.push(await decodeCase(size, { ...made, kind: weights }));
  cases.push(await decodeCase(["head", vocabularySize, hiddenSize], { ...made, kind: head }));
  if (weights !== "fp8" || tensors.device.fp8Rows === undefined) return cases;
  const x = await tensors.random("bf16", [rows, hiddenSize], 1);
  const out = fp8Matrix(tensors, rows, hiddenSize);
  const rounding = {
    name: `round ${rows}x${hiddenSize}`,
    run: () => quantizeRows(tensors.device, { out, in: x }),
  };
  return [...cases.slice(0, before), rounding, ...cases.slice(before)];
}

type ProductOptions = CaseOptions & {
  readonly tensors: CaseTensors;
  readonly kind: CaseOptions["weights"];
};

async function prefillCase(size: MatrixSize, options: ProductOptions): Promise<KernelCase> {
  const { tensors, dtype, rows, kind } = options;
  const [name, n, k] = size;
  const { device } = tensors;
  const plain = await tensors.random(dtype, [rows, k], 1);
  const weight = await weightOf(size, options);
  const out = tensors.empty("f32", rows, n);
  // A GPU rounds rows of activations, too, where there are many.
  const { fp8Rows } = device;
  const isRounded = kind === "fp8" && fp8Rows !== undefined && rows >= fp8Rows.least &&
    n % fp8Rows.multiple === 0 && k % fp8Rows.multiple === 0;
  const x = isRounded ? fp8Matrix(tensors, rows, k) : plain;
  if (x instanceof Fp8Matrix) await quantizeRows(device, { out: x, in: plain });
  return {
    name: `product ${name} ${rows}x${n}x${k}`,
    run: () => matmul(device, { out, x, weight }),
  };
}

async function decodeCase(size: MatrixSize, options: ProductOptions): Promise<KernelCase> {
  const { tensors, dtype } = options;
  const [name, n, k] = size;
  const { device } = tensors;
  const x = await tensors.random(dtype, [1, k], 1);
  const weight = await weightOf(size, options);
  const out = tensors.empty("f32", 1, n);
  return {
    name: `decode ${name} 1x${n}x${k}`,
    run: () => matmulRows(device, { out, x, weight }),
  };
}

async function weightOf(
  [, n, k]: MatrixSize,
  { tensors, kind }: ProductOptions,
): Promise<Matrix> {
  const weight: Tensor = await tensors.random("bf16", [n, k]);
  if (kind === "int8") {
    const out = tensors.take((owned) =>
      Int8Matrix.allocate(tensors.device, { shape: [n, k], label: "bench" }, owned)
    );
    await quantize(tensors.device, { out, in: weight });
    return out;
  }
  if (kind !== "fp8") return weight;
  const out = fp8Matrix(tensors, n, k);
  await quantizeRows(tensors.device, { out, in: weight });
  return out;
}

function fp8Matrix(tensors: CaseTensors, rows: number, columns: number): Fp8Matrix {
  const options = { shape: [rows, columns], label: "bench" } as const;
  return tensors.take((owned) => Fp8Matrix.allocate(tensors.device, options, owned));
}
