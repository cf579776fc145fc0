/**
 * Weights in 8 bits on a device whose memory is the host's: rounded as they are loaded, or taken as a
 * file has them.
 *
 * @module
 */
import type { Device } from "../device/device.ts";
import type { Int8Matrix } from "../device/int8_matrix.ts";
import { Tensor } from "../device/tensor.ts";
import { invariant } from "../errors.ts";
import { PANEL_ROWS } from "../ffi/symbols.ts";
import { quantize } from "../ops/quantize.ts";
import type { ModelShape, ProductShape, WeightSpec } from "./model_shape.ts";
import type { Precision } from "./precision.ts";
import type { WeightFiles } from "./weight_files.ts";
import { fillWeight } from "./weight_fill.ts";
import { storedScales } from "./weight_decode.ts";
import { findWeight, type FoundWeight } from "./weight_lookup.ts";

/** Whether a matrix of a layer gets 8 bits: of files that have 8 bits, those that have. */
export function isInt8(
  found: Pick<FoundWeight, "dtype">,
  options: { config: Pick<ModelShape, "storedWeights">; precision: Precision },
): boolean {
  const { config: { storedWeights }, precision } = options;
  if (precision.weights !== "int8") return false;
  return storedWeights !== "int8" || found.dtype === "i8";
}

/** Whether the head does: asked for, or as its file has it. */
export function isInt8Head(
  found: Pick<FoundWeight, "dtype">,
  precision: Precision,
): boolean {
  return precision.head === "int8" || (precision.weights === "int8" && found.dtype === "i8");
}

/**
 * The matrices that a product's weights become: one where all but the last end with a panel, as the
 * next one could not begin there otherwise.
 */
export function int8Groups(
  weights: ProductShape["weights"],
): readonly { readonly specs: readonly WeightSpec[]; readonly shape: readonly [number, number] }[] {
  const sizeOf = ({ shape: [rows = 0, columns = 0] }: WeightSpec) => [rows, columns] as const;
  const isWhole = weights.slice(0, -1).every((spec) => sizeOf(spec)[0] % PANEL_ROWS === 0);
  const groups = isWhole && weights.length > 0 ? [weights] : weights.map((spec) => [spec]);
  return groups.map((specs) => {
    const [first] = specs;
    invariant(first !== undefined, "a product has weights");
    const rows = specs.reduce((sum, spec) => sum + sizeOf(spec)[0], 0);
    return { specs, shape: [rows, sizeOf(first)[1]] };
  });
}

/** What a matrix of several weights is called. */
export function groupLabel(specs: readonly WeightSpec[]): string {
  return specs.map(({ name }) => name).join(" + ");
}

/** Fills a matrix with its weights, one below the other. */
export async function fillInt8(
  out: Int8Matrix,
  group: {
    readonly specs: readonly WeightSpec[];
    readonly fill: (rows: Int8Matrix, spec: WeightSpec) => Promise<void>;
  },
): Promise<void> {
  let start = 0;
  for (const spec of group.specs) {
    const [count = 0] = spec.shape;
    await group.fill(out.rows(start, count), spec);
    start += count;
  }
}

/**
 * Rounds one weight of a model's files to 8 bits, or takes it as it is.
 *
 * @throws {FileError} If it is missing, or is not what the config says.
 * @throws {KernelError} If there is not enough memory.
 */
export async function quantizeWeight(
  out: Int8Matrix,
  task: { files: WeightFiles; spec: WeightSpec; folder: string },
): Promise<void> {
  const { spec, folder, files } = task;
  const { device } = out.panels;
  const found = findWeight(files, { spec, folder });
  if (found.dtype === "i8") return await takeStored(out, { found, spec });
  if (found.isMapped && spec.scale === undefined) {
    await quantize(device, { out, in: mapWeight(device, { found, spec }) });
    return;
  }
  const { shape, name: label } = spec;
  using floats = Tensor.allocate(device, { dtype: "f32", shape, label });
  await fillWeight(floats, task);
  await quantize(device, { out, in: floats });
}

/** A weight where it lies in its file. */
export function mapWeight(
  device: Device,
  weight: { found: FoundWeight; spec: WeightSpec },
): Tensor {
  const { found: { entry, dtype }, spec: { shape, name: label } } = weight;
  invariant(dtype !== "f64" && dtype !== "q8_0", "a mapped weight has a dtype of tensors");
  const { address, file } = entry;
  return Tensor.foreign(device, { dtype, shape, label, address, keepAlive: file });
}

async function takeStored(
  out: Int8Matrix,
  weight: { found: FoundWeight; spec: WeightSpec },
): Promise<void> {
  const { found, spec } = weight;
  await quantize(out.panels.device, { out, in: mapWeight(out.panels.device, weight) });
  const { scale = 1 } = spec;
  await out.scales.writeFrom(storedScales(found).map((value) => value * scale));
}
