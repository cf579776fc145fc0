/**
 * Copies a model's weights from its mapped files to devices with memory of their own.
 *
 * Those of one device lie in one piece of memory. Queries, keys and values of a layer lie together, and so do
 * gate and up, so that each group is one matrix product.
 *
 * @module
 */
import { sendTensor } from "../device/send.ts";
import { type LayerRange, PerStage, type Stage } from "../device/stages.ts";
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
  stageWeightSpecs,
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

/**
 * Bytes of device memory that the weights of a model need.
 *
 * @param options `range`: the layers of one device, where they are spread over several.
 */
export function weightBytes(
  config: LlamaConfig,
  options: { dtype: "bf16" | "f32"; range?: LayerRange | undefined },
): number {
  const { dtype, range = { firstLayer: 0, endLayer: config.layerCount } } = options;
  return workspaceBytes(stageWeightSpecs(config, range).map(({ shape }) => ({ dtype, shape })));
}

/** Fills a weight's place on its device. */
export type FillWeight = (out: Tensor, spec: WeightSpec) => Promise<void>;

/**
 * Copies all weights, each to the device of its layer.
 *
 * @throws {FileError} If a tensor is missing or is not what the config says.
 * @throws {KernelError} If there is not enough memory.
 */
export async function uploadWeights(
  stages: readonly Stage[],
  options: UploadOptions,
): Promise<ModelWeights> {
  const { config, dtype } = options;
  // What is wrong with the files is found before gigabytes are copied.
  for (const spec of allWeightSpecs(config)) findWeight(options.files, { spec, ...options });
  return await placeWeights(stages, {
    config,
    dtype,
    fused: true,
    fill: async (out, spec) => {
      await upload(out, { spec, options });
      options.onProgress?.();
    },
  });
}

/**
 * Allocates the weights of all stages and fills them in the order of the model.
 *
 * @throws {KernelError} If there is not enough memory.
 */
export async function placeWeights(
  stages: readonly Stage[],
  options: { config: LlamaConfig; dtype: "bf16" | "f32"; fused: boolean; fill: FillWeight },
): Promise<ModelWeights> {
  const { config, dtype, fused, fill } = options;
  using owned = new DisposableStack();
  const arenas = new PerStage(
    stages,
    ({ device, ...range }) =>
      owned.use(Workspace.allocate(device, weightBytes(config, { dtype, range }))),
  );
  const place = async (layer: number, spec: WeightSpec): Promise<Tensor> => {
    const out = arenas.of(layer).take({ dtype, shape: spec.shape, label: spec.name });
    await fill(out, spec);
    return out;
  };
  const model = modelWeightSpecs(config);
  const embedding = await place(0, model.embedding);
  const layers: LayerWeights[] = [];
  for (let layer = 0; layer < config.layerCount; layer++) {
    const specs = layerWeightSpecs(config, layer);
    const weights = takeLayer(specs, { arena: arenas.of(layer), dtype, fused });
    for (const part of Object.keys(specs) as LayerPart[]) await fill(weights[part], specs[part]);
    layers.push(weights);
  }
  const last = config.layerCount - 1;
  const norm = await place(last, model.norm);
  const head = model.head !== model.embedding
    ? await place(last, model.head)
    : headOf(embedding, arenas.of(last));
  const kept = owned.move();
  return { embedding, layers, norm, head, [Symbol.dispose]: () => kept.dispose() };
}

/** The head of a model where it is the embedding; on another device that has a copy of it. */
function headOf(embedding: Tensor, arena: Workspace): Tensor {
  if (arena.device === embedding.device) return embedding;
  const { dtype, shape, label } = embedding;
  const head = arena.take({ dtype, shape, label });
  sendTensor({ from: embedding, to: head });
  return head;
}

/** Copies one weight, and converts it on the device where the file has another dtype. */
async function upload(
  out: Tensor,
  task: { spec: WeightSpec; options: UploadOptions },
): Promise<void> {
  const { spec, options } = task;
  const { device } = out;
  const { entry, dtype } = findWeight(options.files, { spec, folder: options.folder });
  const bytes = entry.file.bytes.subarray(entry.begin, entry.end);
  if (dtype === out.dtype) return await out.writeFrom(bytes);
  using raw = Tensor.allocate(device, { dtype, shape: spec.shape, label: spec.name });
  await raw.writeFrom(bytes);
  await convert(device, { out, in: raw });
}
