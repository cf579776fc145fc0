/**
 * What weights take of a process's own memory on a CPU: those that are not used where their files are
 * mapped.
 *
 * @module
 */
import { DTYPE_BYTES } from "../device/device.ts";
import { fp8Parts } from "../device/fp8_matrix.ts";
import { int8Parts } from "../device/int8_matrix.ts";
import { tensorByteLength } from "../device/shape.ts";
import { modelDigest } from "./digest.ts";
import { isFp8 } from "./fp8_weights.ts";
import { isInt8, isInt8Head } from "./int8_weights.ts";
import { KeptWeights } from "./kept_weights.ts";
import {
  allWeights,
  elementCount,
  isTied,
  type ModelShape,
  productShapes,
  type WeightSpec,
} from "./model_shape.ts";
import type { Precision } from "./precision.ts";
import { openWeightFiles } from "./weight_files.ts";
import { findWeight, keptDType } from "./weight_lookup.ts";

/**
 * Bytes that one process takes for weights that are converted: of another type than is computed with,
 * in another order, scaled, or not aligned.
 *
 * @param folder The model's folder, or a GGUF file. @param model `keepsWeights`: whether those of 8 bits
 * are mapped where a file beside the model has them.
 * @throws {FileError} If a file is missing or damaged, or a weight is not as the configuration says.
 */
export async function convertedWeightBytes(
  folder: string,
  model: { config: ModelShape; precision: Precision; keepsWeights?: boolean | undefined },
): Promise<number> {
  const { config, precision, keepsWeights = false } = model;
  using files = await openWeightFiles(folder, { stored: config.storedWeights });
  // What was kept is mapped.
  const isKept = keepsWeights && await isKeptFor(folder);
  const shapes = config.layers.flatMap(productShapes);
  const products = new Set(shapes.flatMap(({ weights }) => weights));
  const inFp8 = new Set(
    shapes.filter((shape) => isFp8(shape, model)).flatMap(({ weights }) => weights),
  );
  const isTiedHead = isTied(config);
  const int8Bytes = (spec: WeightSpec): number => isKept ? 0 : int8WeightBytes(spec);
  let total = 0;
  for (const spec of allWeights(config)) {
    const found = findWeight(files, { spec, folder });
    const isHead = spec === config.head && !isTiedHead;
    if (products.has(spec) ? isInt8(found, model) : isHead && isInt8Head(found, precision)) {
      total += int8Bytes(spec);
      continue;
    }
    if (inFp8.has(spec) || (isHead && precision.head === "fp8")) {
      // What files have in e4m3 is mapped, its scales are copied.
      total += fp8WeightBytes(spec, { isMapped: found.dtype === "f8e4m3" });
      continue;
    }
    const { dtype, isMapped } = keptDType(found, { spec, precision });
    if (!isMapped) total += elementCount(spec) * DTYPE_BYTES[dtype];
  }
  // A tied head in 8 bits is a matrix of its own.
  if (isTiedHead && precision.head === "int8") total += int8Bytes(config.head);
  if (isTiedHead && precision.head === "fp8") {
    total += fp8WeightBytes(config.head, { isMapped: false });
  }
  return total;
}

/** Whether a usable file of kept weights is there. */
async function isKeptFor(folder: string): Promise<boolean> {
  using kept = await KeptWeights.open(folder, await modelDigest(folder));
  return kept !== undefined;
}

function fp8WeightBytes(
  { shape: [rows = 0, columns = 0], name: label }: WeightSpec,
  file: { isMapped: boolean },
): number {
  const { codes, scales } = fp8Parts({ shape: [rows, columns], label });
  return (file.isMapped ? 0 : tensorByteLength(codes)) + tensorByteLength(scales);
}

function int8WeightBytes({ shape: [rows = 0, columns = 0], name: label }: WeightSpec): number {
  const { panels, scales } = int8Parts({ shape: [rows, columns], label });
  return tensorByteLength(panels) + tensorByteLength(scales);
}
