/**
 * A model's weights as the forward pass takes them, and their places in one piece of memory.
 *
 * @module
 */
import type { DType } from "../device/device.ts";
import type { Tensor } from "../device/tensor.ts";
import type { Workspace } from "../device/workspace.ts";
import type { LayerPart, WeightSpec } from "./weight_names.ts";

/** One layer's weights; matrices are [outputs, inputs]. */
export interface LayerWeights extends Readonly<Record<LayerPart, Tensor>> {
  /** [queries + keys + values, hidden]: the three one after the other, where they are so. */
  readonly qkvProj?: Tensor | undefined;
  /** [2 * intermediate, hidden]: gate, then up, where they are so. */
  readonly gateUpProj?: Tensor | undefined;
}

/** All weights of a model. Disposal frees the memory that is theirs and unmaps the files. */
export interface ModelWeights extends Disposable {
  /** [vocabulary, hidden]. */
  readonly embedding: Tensor;
  readonly layers: readonly LayerWeights[];
  /** [hidden]. */
  readonly norm: Tensor;
  /** [vocabulary, hidden]; the embedding itself where the two are tied. */
  readonly head: Tensor;
}

/** Where a layer's weights go. */
export interface LayerPlace {
  readonly arena: Workspace;
  readonly dtype: DType;
  /** Whether matrices of the same input lie together, for one product instead of several. */
  readonly fused: boolean;
}

/** Takes a layer's tensors from an arena that has room for each of them. */
export function takeLayer(
  specs: Readonly<Record<LayerPart, WeightSpec>>,
  place: LayerPlace,
): LayerWeights {
  const { arena, dtype, fused } = place;
  const take = (spec: WeightSpec) => arena.take({ dtype, shape: spec.shape, label: spec.name });
  const together = (...parts: readonly WeightSpec[]): [Tensor | undefined, Tensor[]] => {
    if (!fused) return [undefined, parts.map(take)];
    const [first] = parts;
    const rows = parts.map(({ shape }) => shape[0] ?? 0);
    const shape = [rows.reduce((sum, count) => sum + count, 0), ...first?.shape.slice(1) ?? []];
    const label = parts.map(({ name }) => name).join(" + ");
    const whole = arena.take({ dtype, shape, label });
    let start = 0;
    return [
      whole,
      rows.map((count) => {
        start += count;
        return whole.rows(start - count, count);
      }),
    ];
  };
  const [qkvProj, qkv] = together(specs.qProj, specs.kProj, specs.vProj);
  const [gateUpProj, gateUp] = together(specs.gateProj, specs.upProj);
  const [qProj, kProj, vProj] = qkv as [Tensor, Tensor, Tensor];
  const [gateProj, upProj] = gateUp as [Tensor, Tensor];
  return {
    inputNorm: take(specs.inputNorm),
    qProj,
    kProj,
    vProj,
    qkvProj,
    oProj: take(specs.oProj),
    postAttentionNorm: take(specs.postAttentionNorm),
    gateProj,
    upProj,
    gateUpProj,
    downProj: take(specs.downProj),
  };
}
