/**
 * The tensors of one layer's keys and values: which there are, what they take, how they are moved.
 *
 * @module
 */
import { copyHeadRows } from "../attention/head_rows.ts";
import type { DType } from "../device/device.ts";
import { isScaled, type KvDType, type KvScales } from "../device/kv_segment.ts";
import type { Tensor } from "../device/tensor.ts";
import { workspaceBytes } from "../device/workspace.ts";
import { invariant } from "../errors.ts";
import { type CodedMeans, CODES_PER_WORD } from "../ops/key_codes.ts";
import { PAGE_TOKENS, pagesFor } from "./kv_pages.ts";

const ROW_LABELS = ["keys", "values", "scales of the keys", "scales of the values"];

/** The sizes of a token's keys and values, per layer. */
export interface KvArenaOptions {
  readonly kvHeads: number;
  readonly headDim: number;
  readonly dtype: KvDType;
  /** Whether each page has a mean key and a mean value, too, and codes of its keys. @default {false} */
  readonly hasMeans?: boolean | undefined;
}

/** Keys and values of one layer: [kv_heads, rows, head_dim] each, a row for each token. */
export interface LayerCache {
  readonly keys: Tensor;
  readonly values: Tensor;
  /** Of each row, if keys and values have 8 bits. */
  readonly scales?: KvScales | undefined;
  /** What `tileMeans()` and `keyCodes()` have written for each page. */
  readonly means?: Pick<CodedMeans, "keys" | "values" | "spread" | "codes"> | undefined;
}

/** All that a layer has of each token: [kv_heads, rows, ...] each. */
export function rowTensors({ keys, values, scales }: LayerCache): readonly Tensor[] {
  return scales === undefined ? [keys, values] : [keys, values, scales.keys, scales.values];
}

/** What a layer has of some tokens, for `rowTensors()`. */
export function rowShapes(
  { kvHeads, headDim, dtype, rows }: KvArenaOptions & { readonly rows: number },
): readonly { readonly dtype: DType; readonly shape: readonly number[] }[] {
  const row = { dtype, shape: [kvHeads, rows, headDim] } as const;
  const scale = { dtype: "f32", shape: [kvHeads, rows, 1] } as const;
  return isScaled(dtype) ? [row, row, scale, scale] : [row, row];
}

/** A layer of tensors that were made for `rowShapes()`. */
export function layerOf(tensors: readonly Tensor[]): LayerCache {
  const [keys, values, keyScales, valueScales] = tensors;
  invariant(keys !== undefined && values !== undefined, "a layer has keys and values");
  if (keyScales === undefined || valueScales === undefined) return { keys, values };
  return { keys, values, scales: { keys: keyScales, values: valueScales } };
}

/** Means of tiles are floats. */
function meanDtype(dtype: KvDType): "bf16" | "f32" {
  return isScaled(dtype) ? "bf16" : dtype;
}

/** Bytes of device memory that `tokens` tokens of one sequence take in some layers. */
export function cacheBytes(
  options: KvArenaOptions & { readonly tokens: number; readonly layers: number },
): number {
  const { kvHeads, headDim, dtype, tokens, layers, hasMeans = false } = options;
  if (tokens === 0) return 0;
  const pages = pagesFor(tokens);
  const rows = rowShapes({ kvHeads, headDim, dtype, rows: pages * PAGE_TOKENS });
  const means = { dtype: meanDtype(dtype), shape: [kvHeads, pages, headDim] };
  const codes = { dtype: "i32", shape: codesShape({ kvHeads, headDim, pages }) } as const;
  // Of the means: keys, values, and the keys' spread.
  const tensors = [...rows, ...(hasMeans ? [means, means, means, codes] : [])];
  return layers * workspaceBytes(tensors);
}

function codesShape(
  { kvHeads, headDim, pages }: { kvHeads: number; headDim: number; pages: number },
): number[] {
  return [kvHeads, pages * PAGE_TOKENS, headDim / CODES_PER_WORD];
}

/**
 * Makes the tensors of a layer.
 *
 * @param options `rows`: a multiple of the tokens of a page.
 * @param allocate Makes one; it is told what it is for.
 */
export function makeLayer(
  options: KvArenaOptions & { readonly rows: number },
  allocate: (what: string, options: { dtype: DType; shape: readonly number[] }) => Tensor,
): LayerCache {
  const { kvHeads, headDim, rows, hasMeans = false } = options;
  const tensors = rowShapes(options).map((shape, i) => allocate(ROW_LABELS[i] ?? "", shape));
  if (!hasMeans) return layerOf(tensors);
  const pages = rows / PAGE_TOKENS;
  const mean = { dtype: meanDtype(options.dtype), shape: [kvHeads, pages, headDim] };
  const codes = { dtype: "i32", shape: codesShape({ kvHeads, headDim, pages }) } as const;
  const means = {
    keys: allocate("mean keys", mean),
    values: allocate("mean values", mean),
    spread: allocate("spread of the keys", mean),
    codes: allocate("codes of the keys", codes),
  };
  return { ...layerOf(tensors), means };
}

/** All tensors of a layer, in one order. */
function allTensors(layer: LayerCache): readonly Tensor[] {
  const { means } = layer;
  const ofMeans = means && [means.keys, means.values, means.spread, means.codes];
  return [...rowTensors(layer), ...ofMeans ?? []];
}

/** Frees all tensors of a layer. */
export function disposeLayer(layer: LayerCache): void {
  for (const tensor of allTensors(layer)) tensor[Symbol.dispose]();
}

/** Copies all rows of each head to the first rows of longer tensors. */
export async function moveLayer(to: LayerCache, from: LayerCache): Promise<void> {
  const before = allTensors(from);
  for (const [i, tensor] of allTensors(to).entries()) {
    const other = before[i];
    if (other !== undefined) await moveTensor(tensor, other);
  }
}

async function moveTensor(out: Tensor, from: Tensor): Promise<void> {
  const [, rows = 0] = from.shape;
  await copyHeadRows(rows, { out: { tensor: out, start: 0 }, from: { tensor: from, start: 0 } });
}
