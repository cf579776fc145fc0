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
import {
  allWeights,
  isTied,
  type ModelShape,
  stageWeights,
  type WeightSpec,
} from "./model_shape.ts";
import type { Precision } from "./precision.ts";
import type { WeightFiles } from "./weight_files.ts";
import { findWeight } from "./weight_lookup.ts";
import { type LayerWeights, makeLayer, type ModelWeights, takeProduct } from "./weight_tensors.ts";

/** What to copy, and what it becomes. */
export interface UploadOptions {
  readonly files: WeightFiles;
  readonly folder: string;
  readonly config: ModelShape;
  readonly precision: Precision;
  /** Called after every weight. */
  readonly onProgress?: (() => void) | undefined;
}

/**
 * Bytes of device memory that the weights of a model need.
 *
 * @param options `range`: the layers of one device, where they are spread over several.
 */
export function weightBytes(
  config: ModelShape,
  options: { precision: Precision; range?: LayerRange | undefined },
): number {
  const { precision, range = { firstLayer: 0, endLayer: config.layerCount } } = options;
  const dtype = precision.weights;
  return workspaceBytes(stageWeights(config, range).map(({ shape }) => ({ dtype, shape })));
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
  const { config, precision } = options;
  // What is wrong with the files is found before gigabytes are copied.
  for (const spec of allWeights(config)) findWeight(options.files, { spec, ...options });
  return await placeWeights(stages, {
    config,
    precision,
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
  options: { config: ModelShape; precision: Precision; fused: boolean; fill: FillWeight },
): Promise<ModelWeights> {
  const { config, precision, fused, fill } = options;
  const dtype = precision.weights;
  using owned = new DisposableStack();
  const arenas = new PerStage(
    stages,
    ({ device, ...range }) =>
      owned.use(Workspace.allocate(device, weightBytes(config, { precision, range }))),
  );
  const place = async (layer: number, spec: WeightSpec): Promise<Tensor> => {
    const out = arenas.of(layer).take({ dtype, shape: spec.shape, label: spec.name });
    await fill(out, spec);
    return out;
  };
  const embedding = await place(0, config.embedding);
  const layers: LayerWeights[] = [];
  for (const [index, layer] of config.layers.entries()) {
    const arena = arenas.of(index);
    layers.push(
      await makeLayer(layer, {
        vector: (spec) => place(index, spec),
        product: async (shape) => {
          const { pieces, parts } = takeProduct(shape, { arena, dtype, fused });
          for (const [i, part] of parts.entries()) {
            const spec = shape.weights[i];
            if (spec !== undefined) await fill(part, spec);
          }
          return { pieces };
        },
      }),
    );
  }
  const last = config.layerCount - 1;
  const norm = await place(last, config.norm);
  const head = isTied(config) ? headOf(embedding, arenas.of(last)) : await place(last, config.head);
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
