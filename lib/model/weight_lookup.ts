/**
 * Finds a weight in a model's files and checks what the files say of it.
 *
 * @module
 */
import { FileError } from "../errors.ts";
import type { FloatDType } from "../device/elements.ts";
import type { WeightEntry, WeightFiles } from "./weight_files.ts";
import type { WeightSpec } from "./model_shape.ts";

const DTYPES: Readonly<Record<string, FloatDType>> = { F32: "f32", BF16: "bf16", F16: "f16" };

/** A weight in its file. */
export interface FoundWeight {
  readonly entry: WeightEntry;
  readonly dtype: FloatDType;
}

/**
 * Finds a weight.
 *
 * @param files The files. @param options The weight, and the folder for messages.
 * @throws {FileError} If it is missing, or its shape or dtype is another than the config says.
 */
export function findWeight(
  files: WeightFiles,
  options: { spec: WeightSpec; folder: string },
): FoundWeight {
  const { spec, folder } = options;
  const entry = files.entries.get(spec.name);
  if (entry === undefined) {
    throw new FileError(
      `Cannot use the weights in ${folder} as tensor ${spec.name} must be there: it is missing`,
    );
  }
  if (String(entry.shape) !== String(spec.shape)) {
    throw new FileError(
      `Cannot use ${entry.path} as tensor ${spec.name} must have the shape ` +
        `[${spec.shape.join(", ")}] of config.json: current value is [${entry.shape.join(", ")}]`,
    );
  }
  const dtype = DTYPES[entry.dtype];
  if (dtype === undefined) {
    throw new FileError(
      `Cannot use ${entry.path} as tensor ${spec.name} must be BF16, F16 or F32: ` +
        `current value is ${entry.dtype}`,
    );
  }
  return { entry, dtype };
}

/** Refuses biases: one that is silently left out would give wrong results. */
export function refuseBiases(files: WeightFiles): void {
  for (const [name, { path }] of files.entries) {
    if (!/_proj\.bias$/.test(name)) continue;
    throw new FileError(`Cannot use ${path} as biases are not supported: tensor ${name} is one`);
  }
}
