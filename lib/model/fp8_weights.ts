/**
 * Weights in e4m3: rounded as they are loaded, or taken as a file has them.
 *
 * @module
 */
import { hasNanCode } from "../device/e4m3.ts";
import type { Device } from "../device/device.ts";
import { Fp8Matrix } from "../device/fp8_matrix.ts";
import { Tensor } from "../device/tensor.ts";
import { FileError, invariant } from "../errors.ts";
import { quantizeRows } from "../ops/quantize_rows.ts";
import { groupLabel, mapWeight } from "./int8_weights.ts";
import type { ModelShape, ProductShape, WeightSpec } from "./model_shape.ts";
import type { Precision } from "./precision.ts";
import { storedScales } from "./weight_decode.ts";
import type { WeightFiles } from "./weight_files.ts";
import { fillWeight } from "./weight_fill.ts";
import { findWeight, type FoundWeight } from "./weight_lookup.ts";

/**
 * Whether a product of a layer gets weights in e4m3: of files that have e4m3, one whose matrices all have
 * it there.
 */
export function isFp8(
  { weights }: Pick<ProductShape, "weights">,
  options: { config: Pick<ModelShape, "floatWeights">; precision: Precision },
): boolean {
  const { config: { floatWeights = [] }, precision } = options;
  return precision.weights === "fp8" && weights.every(({ name }) => !floatWeights.includes(name));
}

/** What a product's matrix is made of, and its extents: its weights lie one below the other. */
export function fp8Group(
  weights: readonly WeightSpec[],
): { readonly shape: readonly [number, number]; readonly label: string } {
  const [first] = weights;
  invariant(first !== undefined, "a product has weights");
  const rows = weights.reduce((sum, { shape: [count = 0] }) => sum + count, 0);
  return { shape: [rows, first.shape[1] ?? 0], label: groupLabel(weights) };
}

/** Fills the rows of one weight. */
export type FillFp8 = (out: Fp8Matrix, spec: WeightSpec) => Promise<void>;

/** Fills a matrix with its weights, one below the other. */
export async function fillFp8(
  out: Fp8Matrix,
  group: { readonly weights: readonly WeightSpec[]; readonly fill: FillFp8 },
): Promise<void> {
  let start = 0;
  for (const spec of group.weights) {
    const [count = 0] = spec.shape;
    await group.fill(out.rows(start, count), spec);
    start += count;
  }
}

/**
 * Rounds one weight of a model's files to e4m3, or takes it as it is.
 *
 * @throws {FileError} If it is missing, is not what the config says, or holds a NaN in e4m3.
 * @throws {KernelError} If there is not enough memory.
 */
export async function roundWeight(
  out: Fp8Matrix,
  task: { files: WeightFiles; spec: WeightSpec; folder: string },
): Promise<void> {
  const { files, spec, folder } = task;
  const { device } = out.codes;
  const found = findWeight(files, { spec, folder });
  if (found.dtype === "f8e4m3") return await takeStored(out, { found, spec });
  const { isMapped, dtype } = found;
  if (isMapped && spec.scale === undefined && device.hasHostMemory) {
    return await quantizeRows(device, { out, in: mapWeight(device, { found, spec }) });
  }
  const isPlain = spec.scale === undefined && (dtype === "bf16" || dtype === "f16");
  await roundFrom(out, { dtype: isPlain ? dtype : "f32", fill: (raw) => fillWeight(raw, task) });
}

/** Rounds what a tensor of floats is filled with; it is freed again. */
export async function roundFrom(
  out: Fp8Matrix,
  source: { dtype: "f32" | "bf16" | "f16"; fill: (raw: Tensor) => Promise<void> },
): Promise<void> {
  const { codes: { device, label }, shape } = out;
  using raw = Tensor.allocate(device, { dtype: source.dtype, shape, label });
  await source.fill(raw);
  await quantizeRows(device, { out, in: raw });
}

async function takeStored(
  out: Fp8Matrix,
  weight: { found: FoundWeight; spec: WeightSpec },
): Promise<void> {
  const { found, spec: { scale = 1 } } = weight;
  await out.codes.writeFrom(storedCodes(found));
  await out.scales.writeFrom(storedScales(found).map((value) => value * scale));
}

/**
 * A matrix where its codes lie in a file; its scales are copied.
 *
 * @param owned Disposes of the scales.
 * @throws {FileError} If there is a NaN among the codes.
 */
export async function mapFp8(
  device: Device,
  weight: { found: FoundWeight; spec: WeightSpec; owned: DisposableStack },
): Promise<Fp8Matrix> {
  const { found, spec: { name, shape: [rows = 0], scale = 1 }, owned } = weight;
  storedCodes(found);
  const label = `scales of ${name}`;
  const scales = owned.use(Tensor.allocate(device, { dtype: "f32", shape: [rows], label }));
  await scales.writeFrom(storedScales(found).map((value) => value * scale));
  return new Fp8Matrix({ codes: mapWeight(device, weight), scales });
}

/** The codes of a weight. @throws {FileError} If one is NaN, which kernels do not expect. */
function storedCodes({ entry }: FoundWeight): Uint8Array<ArrayBuffer> {
  const codes = entry.file.bytes.subarray(entry.begin, entry.end);
  if (!hasNanCode(codes)) return codes;
  throw new FileError(
    `Cannot use ${entry.path} as tensor ${entry.name} must hold finite numbers: one of it is NaN`,
  );
}
