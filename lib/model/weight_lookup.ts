/**
 * Finds a weight in a model's files and checks what the files say of it.
 *
 * @module
 */
import type { FloatDType } from "../device/elements.ts";
import { FileError } from "../errors.ts";
import { allWeights, type ModelShape, type WeightSpec } from "./model_shape.ts";
import type { WeightEntry, WeightFiles } from "./weight_files.ts";

/** Dtypes of files that are read. */
const DTYPES: Readonly<Record<string, FloatDType | "f64">> = {
  F32: "f32",
  BF16: "bf16",
  F16: "f16",
  F64: "f64",
};
const ELEMENT_BYTES = { f32: 4, bf16: 2, f16: 2, f64: 8 } as const;

/** What stands before the names of all weights but the head's, unless the base model was saved. */
const PREFIX = "model.";

/** A weight in its file. */
export interface FoundWeight {
  readonly entry: WeightEntry;
  readonly dtype: FloatDType | "f64";
  /** Whether it can be used where it lies: the format does not ask for alignment, kernels do. */
  readonly isMapped: boolean;
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
  if (entry === undefined) {
    const [first = "none"] = files.entries.keys();
    throw new FileError(
      `Cannot use the weights in ${folder} as tensor ${spec.name} must be there: it is missing ` +
        `(of the ${files.entries.size} tensors there, the first one is ${first})`,
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
      `Cannot use ${entry.path} as tensor ${spec.name} must be BF16, F16, F32 or F64: ` +
        `current value is ${entry.dtype}`,
    );
  }
  const isMapped = dtype !== "f64" && entry.begin % ELEMENT_BYTES[dtype] === 0;
  return { entry, dtype, isMapped };
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
      `Cannot use ${path} as a ${model.family} model with this config.json has no tensor ${name}: ` +
        "what it stands for would be left out",
    );
  }
}
