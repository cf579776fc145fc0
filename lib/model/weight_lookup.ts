/**
 * Finds a weight in a model's files and checks what the files say of it.
 *
 * @module
 */
import { DTYPE_BYTES } from "../device/device.ts";
import type { FloatDType } from "../device/elements.ts";
import { FileError } from "../errors.ts";
import { allWeights, type ModelShape, type WeightSpec } from "./model_shape.ts";
import { type EightBits, plainWeights, type Precision } from "./precision.ts";
import type { WeightEntry } from "./weight_entry.ts";
import type { WeightFiles } from "./weight_files.ts";

/** Dtypes of files that are read. */
const DTYPES: Readonly<Record<string, WeightDType>> = {
  F32: "f32",
  BF16: "bf16",
  F16: "f16",
  F64: "f64",
  Q8_0: "q8_0",
  I8: "i8",
  F8_E4M3: "f8e4m3",
};
/** Dtypes that only files which say so may have. */
const STORED: Readonly<Partial<Record<WeightDType, EightBits>>> = { i8: "int8", f8e4m3: "fp8" };

/** A dtype of files that are read: floats of tensors, 8 bits, and two that are decoded on the host. */
export type WeightDType = FloatDType | "i8" | "f64" | "q8_0";

/** What stands before the names of all weights but the head's, unless the base model was saved. */
const PREFIX = "model.";

/** A weight in its file. */
export interface FoundWeight {
  readonly entry: WeightEntry;
  readonly dtype: WeightDType;
  /**
   * Whether it can be used where it lies: the formats do not ask for alignment and rows in the usual
   * order, kernels do.
   */
  readonly isMapped: boolean;
  /** Of 8 bits: the factor of each row. */
  readonly scales?: { readonly entry: WeightEntry; readonly dtype: FloatDType };
}

/** A weight by its name; transformers, too, finds those of a base model, which lack the prefix. */
export function entryNamed(files: WeightFiles, name: string): WeightEntry | undefined {
  const found = files.entries.get(name);
  if (found !== undefined || !name.startsWith(PREFIX)) return found;
  return files.entries.get(name.slice(PREFIX.length));
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
  const entry = entryNamed(files, spec.name);
  const name = files.ownName(spec.name);
  if (entry === undefined) {
    const [first = "none"] = files.entries.keys();
    throw new FileError(
      `Cannot use the weights in ${folder} as tensor ${name} must be there: it is missing ` +
        `(of the ${files.entries.size} tensors there, the first one is ${files.ownName(first)})`,
    );
  }
  if (String(entry.shape) !== String(spec.shape)) {
    throw new FileError(
      `Cannot use ${entry.path} as tensor ${name} must have the shape [${spec.shape.join(", ")}] ` +
        `of ${files.shapeSource}: current value is [${entry.shape.join(", ")}]`,
    );
  }
  const dtype = DTYPES[entry.dtype];
  if (dtype === undefined || STORED[dtype] !== (isStored(dtype) ? files.stored : undefined)) {
    throw new FileError(
      `Cannot use ${entry.path} as tensor ${name} must be BF16, F16, F32 or F64: ` +
        `current value is ${entry.dtype}`,
    );
  }
  if (isStored(dtype)) {
    return { entry, dtype, isMapped: false, scales: findScales(files, { spec, folder }) };
  }
  const isMapped = dtype !== "f64" && dtype !== "q8_0" && entry.rowPairs === undefined &&
    entry.begin % DTYPE_BYTES[dtype] === 0;
  return { entry, dtype, isMapped };
}

function isStored(dtype: WeightDType): boolean {
  return STORED[dtype] !== undefined;
}

/** @throws {FileError} If a matrix of 8 bits has no scale for each row. */
function findScales(
  files: WeightFiles,
  options: { spec: WeightSpec; folder: string },
): NonNullable<FoundWeight["scales"]> {
  const { spec: { name, shape: [rows = 0] }, folder } = options;
  const scale = `${name}_scale`;
  const entry = entryNamed(files, scale);
  if (entry === undefined) {
    throw new FileError(
      `Cannot use the weights in ${folder} as tensor ${scale} must be there, as ${name} has 8 bits: ` +
        "it is missing",
    );
  }
  const dtype = DTYPES[entry.dtype];
  const size = entry.shape.reduce((product, extent) => product * extent, 1);
  if ((dtype === "f32" || dtype === "bf16" || dtype === "f16") && size === rows) {
    return { entry, dtype };
  }
  throw new FileError(
    `Cannot use ${entry.path} as tensor ${scale} must be [${rows}, 1] BF16, F16 or F32: ` +
      `current value is [${entry.shape.join(", ")}] ${entry.dtype}`,
  );
}

/**
 * What a weight becomes on a device whose memory is the host's: bf16 stays bf16 whatever is computed
 * with, and what is scaled is not rounded again.
 *
 * @returns Its dtype there, and whether it is used where its file is mapped.
 */
export function keptDType(
  found: FoundWeight,
  options: { spec: WeightSpec; precision: Precision },
): { readonly dtype: FloatDType; readonly isMapped: boolean } {
  const { spec, precision } = options;
  const wanted = found.dtype === "bf16" ? "bf16" : plainWeights(precision);
  if (spec.scale !== undefined) return { dtype: "f32", isMapped: false };
  return { dtype: wanted, isMapped: found.isMapped && found.dtype === wanted };
}

/**
 * Refuses weights of a layer that its shape does not have, for example a bias: one that is silently
 * left out would give wrong results.
 *
 * @throws {FileError} If there is one; the message names it.
 */
export function refuseUnused(files: WeightFiles, model: ModelShape): void {
  const used = new Set(allWeights(model).map(({ name }) => name));
  for (const [name, { path }] of files.entries) {
    const full = /^layers\./.test(name) ? `${PREFIX}${name}` : name;
    const [, layer] = /^model\.layers\.(\d+)\..*\.(?:weight|bias)$/.exec(full) ?? [];
    if (layer === undefined || Number(layer) >= model.layerCount || used.has(full)) continue;
    throw new FileError(
      `Cannot use ${path} as a ${model.family} model with this ${files.shapeSource} has no tensor ` +
        `${files.ownName(name)}: what it stands for would be left out`,
    );
  }
}
