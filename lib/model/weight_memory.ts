/**
 * What weights take of a process's own memory on a CPU: those that are not used where their files are
 * mapped.
 *
 * @module
 */
import { DTYPE_BYTES } from "../device/device.ts";
import { allWeights, elementCount, type ModelShape } from "./model_shape.ts";
import type { Precision } from "./precision.ts";
import { openWeightFiles } from "./weight_files.ts";
import { findWeight, keptDType } from "./weight_lookup.ts";

/**
 * Bytes that one process takes for weights that are converted: of another type than is computed with,
 * in another order, scaled, or not aligned.
 *
 * @param folder The model's folder, or a GGUF file.
 * @throws {FileError} If a file is missing or damaged, or a weight is not as the configuration says.
 */
export async function convertedWeightBytes(
  folder: string,
  model: { config: ModelShape; precision: Precision },
): Promise<number> {
  const { config, precision } = model;
  using files = await openWeightFiles(folder);
  let total = 0;
  for (const spec of allWeights(config)) {
    const found = findWeight(files, { spec, folder });
    const { dtype, isMapped } = keptDType(found, { spec, precision });
    if (!isMapped) total += elementCount(spec) * DTYPE_BYTES[dtype];
  }
  return total;
}
