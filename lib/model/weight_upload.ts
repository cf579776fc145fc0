/**
 * Copies a model's weights from its mapped files to a device with memory of its own.
 *
 * All of them lie in one piece of memory. Queries, keys and values of a layer lie together, and so do
 * gate and up, so that each group is one matrix product.
 *
 * @module
 */
import type { Device } from "../device/device.ts";
import { Tensor } from "../device/tensor.ts";
import { Workspace, workspaceBytes } from "../device/workspace.ts";
import { convert } from "../ops/convert.ts";
import type { LlamaConfig } from "./config.ts";
import type { WeightFiles } from "./weight_files.ts";
import { findWeight } from "./weight_lookup.ts";
import {
  allWeightSpecs,
  type LayerPart,
  layerWeightSpecs,
  modelWeightSpecs,
  type WeightSpec,
} from "./weight_names.ts";
import { type LayerWeights, type ModelWeights, takeLayer } from "./weight_tensors.ts";

/** What to copy, and what it becomes. */
export interface UploadOptions {
  readonly files: WeightFiles;
  readonly folder: string;
  readonly config: LlamaConfig;
  readonly dtype: "bf16" | "f32";
  /** Called after every weight. */
  readonly onProgress?: (() => void) | undefined;
}

/** Bytes of device memory that the weights of a model need. */
export function weightBytes(config: LlamaConfig, dtype: "bf16" | "f32"): number {
  return workspaceBytes(allWeightSpecs(config).map(({ shape }) => ({ dtype, shape })));
}

/**
 * Copies all weights.
 *
 * @throws {FileError} If a tensor is missing or is not what the config says.
 * @throws {KernelError} If there is not enough memory.
 */
export async function uploadWeights(device: Device, options: UploadOptions): Promise<ModelWeights> {
  const { config, dtype } = options;
  using owned = new DisposableStack();
  const model = modelWeightSpecs(config);
  // What is wrong with the files is found before gigabytes are copied.
  for (const spec of allWeightSpecs(config)) findWeight(options.files, { spec, ...options });
  const arena = owned.use(Workspace.allocate(device, weightBytes(config, dtype)));
  const copyTo = async (out: Tensor, spec: WeightSpec): Promise<Tensor> => {
    await upload(device, { out, spec, options });
    options.onProgress?.();
    return out;
  };
  const place = (spec: WeightSpec): Promise<Tensor> =>
    copyTo(arena.take({ dtype, shape: spec.shape, label: spec.name }), spec);
  const embedding = await place(model.embedding);
  const layers: LayerWeights[] = [];
  for (let layer = 0; layer < config.layerCount; layer++) {
    const specs = layerWeightSpecs(config, layer);
    const weights = takeLayer(specs, { arena, dtype, fused: true });
    for (const part of Object.keys(specs) as LayerPart[]) await copyTo(weights[part], specs[part]);
    layers.push(weights);
  }
  const norm = await place(model.norm);
  const head = model.head === model.embedding ? embedding : await place(model.head);
  const kept = owned.move();
  return { embedding, layers, norm, head, [Symbol.dispose]: () => kept.dispose() };
}

/** Copies one weight, and converts it on the device where the file has another dtype. */
async function upload(
  device: Device,
  task: { out: Tensor; spec: WeightSpec; options: UploadOptions },
): Promise<void> {
  const { out, spec, options } = task;
  const { entry, dtype } = findWeight(options.files, { spec, folder: options.folder });
  const bytes = entry.file.bytes.subarray(entry.begin, entry.end);
  if (dtype === out.dtype) return await out.writeFrom(bytes);
  using raw = Tensor.allocate(device, { dtype, shape: spec.shape, label: spec.name });
  await raw.writeFrom(bytes);
  await convert(device, { out, in: raw });
}
