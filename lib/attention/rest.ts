/**
 * What is not selected: dropped, as in XAttention (arXiv 2503.16428), or kept as means: of each tile
 * one key and one value, which stand for its 128 keys in the same softmax.
 *
 * @module
 */
import type { Device, DType } from "../device/device.ts";
import type { Tensor } from "../device/tensor.ts";
import type { Workspace } from "../device/workspace.ts";
import { TILE_TOKENS } from "../ffi/symbols.ts";
import {
  attentionBlockSparse,
  type AttentionBlockSparseArguments,
} from "../ops/attention_block_sparse.ts";
import { attentionRest } from "../ops/attention_rest.ts";
import { tileMeans } from "../ops/tile_means.ts";
import { firstWholeTile } from "./window.ts";

/** What becomes of the tiles that are not selected. */
export type RestRule = "mean" | "drop";

/** All rules, in the order of help texts. */
export const REST_RULES = ["mean", "drop"] as const satisfies readonly RestRule[];

/** What decides about the memory of a chunk's means. */
export interface RestSizes {
  readonly queryHeads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly queryTokens: number;
  readonly keyTokens: number;
  /** What attention writes. */
  readonly outDtype: DType;
}

/** One tensor of working memory. */
interface TensorPlan {
  readonly dtype: DType;
  readonly shape: readonly number[];
}

/**
 * The means of a layer's tiles that the chunks of a sequence keep for each other, so that each makes
 * those of its own tokens alone: both [kv_heads, tiles, head_dim].
 */
export interface KeptMeans {
  readonly keys: Tensor;
  readonly values: Tensor;
}

/** What a layer's kept means are, of a sequence of the sizes' keys: both tensors are like it. */
export function keptMeansTensor(
  device: Pick<Device, "queryDtype">,
  sizes: RestSizes,
): TensorPlan {
  return planRest(device, sizes).means;
}

/**
 * The scratch tensors of a chunk's means, for sizing a workspace.
 *
 * @param options `keepsMeans`: the means themselves lie elsewhere.
 */
export function restTensors(
  device: Pick<Device, "queryDtype">,
  sizes: RestSizes,
  { keepsMeans = false }: { keepsMeans?: boolean } = {},
): readonly TensorPlan[] {
  const { means, lse, partial } = planRest(device, sizes);
  return [
    ...keepsMeans ? [] : [means, means],
    lse,
    ...partial === undefined ? [] : [partial],
  ];
}

function planRest(
  device: Pick<Device, "queryDtype">,
  sizes: RestSizes,
): { means: TensorPlan; lse: TensorPlan; partial: TensorPlan | undefined } {
  const { queryHeads, kvHeads, headDim, queryTokens, keyTokens, outDtype } = sizes;
  const tiles = Math.ceil(keyTokens / TILE_TOKENS);
  const rows = [queryTokens, queryHeads];
  return {
    means: { dtype: device.queryDtype, shape: [kvHeads, tiles, headDim] },
    lse: { dtype: "f32", shape: rows },
    // Sums go on in f32, in place where that is the output's dtype.
    partial: outDtype === "f32" ? undefined : { dtype: "f32", shape: [...rows, headDim] },
  };
}

/**
 * As `attentionBlockSparse()`, and every tile before a row's own that is not chosen by its means.
 *
 * @param args The queries are the sequence's last tokens. `scratch` has room for `restTensors()`
 * besides what was taken from it. `kept`: what the chunks before have left of the layer's means, all of
 * them if this is not the sequence's first.
 */
export async function attendWithMeans(
  device: Device,
  args: AttentionBlockSparseArguments & { scratch: Workspace; kept?: KeptMeans | undefined },
): Promise<void> {
  const { out, q, keys, prefix, counts, indices, qOffset, scale, window = 0, scratch } = args;
  const { prefixGap = 0, kept } = args;
  const [queryTokens = 0, queryHeads = 0, headDim = 0] = q.shape;
  const [kvHeads = 0] = keys.keys.shape;
  const keyTokens = qOffset + queryTokens;
  const sizes = { queryHeads, kvHeads, headDim, queryTokens, keyTokens, outDtype: out.dtype };
  const plans = planRest(device, sizes);
  const take = (plan: TensorPlan, label: string) => scratch.take({ ...plan, label });
  const [, tiles = 0] = plans.means.shape;
  const means = {
    keys: kept?.keys ?? take(plans.means, "mean keys"),
    values: kept?.values ?? take(plans.means, "mean values"),
    ...{ start: 0, tokens: tiles },
  };
  const partialLse = take(plans.lse, "log-sum-exps");
  const partial = plans.partial === undefined ? out : take(plans.partial, "partial attention");
  await attentionBlockSparse(device, {
    ...{ q, keys, prefix, counts, indices, qOffset, scale, window, prefixGap },
    ...{ out: partial, lse: partialLse },
  });
  const prefixTokens = prefix?.tokens ?? 0;
  const seen = firstWholeTile({ window, prefixTokens, prefixGap }, qOffset);
  // The chunk before has left out its last row's tile.
  const hasEarlier = kept !== undefined && qOffset > prefixTokens;
  const firstTile = hasEarlier ? Math.max(seen, qOffset / TILE_TOKENS - 1) : seen;
  // The last row's own tile is no rest, and may not be whole.
  const count = tiles - 1 - firstTile;
  if (count > 0) await tileMeans(device, { means, keys, prefix, firstTile, tiles: count });
  await attentionRest(device, {
    ...{ out, partial, partialLse, q, means, counts, indices, qOffset, scale },
    ...{ window, prefixTokens, prefixGap },
  });
}
