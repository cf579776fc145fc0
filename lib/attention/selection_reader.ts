/**
 * What a selection of one's own may look at beside the antidiagonal mass: queries, keys and the exact
 * mass of a layer's heads, read from the device when they are asked for.
 *
 * @module
 */
import { Tensor } from "../device/tensor.ts";
import type { KvSegment } from "../device/kv_segment.ts";
import { attentionDense } from "../ops/attention_dense.ts";
import { tileMass } from "../ops/tile_mass.ts";
import type { SelectionReader } from "./select_module.ts";

/** The rows of a call in one layer, on a device. */
export interface ReadableRows {
  /** [tokens, query heads, head_dim]. */
  readonly q: Tensor;
  readonly keys: KvSegment;
  readonly prefix: KvSegment | undefined;
  readonly qOffset: number;
  readonly prefixGap: number;
  readonly window: number;
  readonly scale: number;
  /** [heads, rows, columns]: the antidiagonal mass. */
  readonly mass: Tensor;
}

/** Reads each thing once, for all heads. */
export function selectionReader(rows: ReadableRows): SelectionReader {
  const { q, keys, prefix, scale } = rows;
  const [tokens = 0, heads = 1, headDim = 0] = q.shape;
  const group = heads / (keys.keys.shape[0] ?? 1);
  const [, rowTiles = 0, columns = 0] = rows.mass.shape;
  const cells = rowTiles * columns;
  const read = {
    queries: once(() => q.toFloats()),
    mass: once(() => rows.mass.toFloats()),
    exactMass: once(() => exactMass(rows)),
  };
  const keysOf = new Map<number, Promise<Float32Array<ArrayBuffer>>>();
  const cellsOf = async (mass: Promise<Float32Array<ArrayBuffer>>, head: number) =>
    (await mass).slice(head * cells, (head + 1) * cells);
  return {
    heads,
    group,
    headDim,
    scale,
    async queries(head) {
      const all = await read.queries();
      const own = new Float32Array(tokens * headDim);
      for (let token = 0; token < tokens; token++) {
        const begin = (token * heads + head) * headDim;
        own.set(all.subarray(begin, begin + headDim), token * headDim);
      }
      return own;
    },
    async keys(head) {
      const kvHead = Math.floor(head / group);
      const found = keysOf.get(kvHead) ?? headKeys([prefix, keys], kvHead);
      keysOf.set(kvHead, found);
      return (await found).slice();
    },
    mass: (head) => cellsOf(read.mass(), head),
    exactMass: (head) => cellsOf(read.exactMass(), head),
  };
}

function once<T>(make: () => Promise<T>): () => Promise<T> {
  let made: Promise<T> | undefined;
  return () => made ??= make();
}

/** [keys, head_dim] of one head, segment behind segment; keys that are dropped read as 0. */
async function headKeys(
  segments: readonly (KvSegment | undefined)[],
  kvHead: number,
): Promise<Float32Array<ArrayBuffer>> {
  const parts: Float32Array[] = [];
  for (const segment of segments) {
    if (segment === undefined) continue;
    const { keys, start, tokens, absent = 0 } = segment;
    const [, capacity = 0, headDim = 0] = keys.shape;
    parts.push(new Float32Array(absent * headDim));
    const head = keys.rows(kvHead, 1).reshape([capacity, headDim]);
    parts.push(await head.rows(start + absent, tokens - absent).toFloats());
  }
  const all = new Float32Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

/** [heads, rows, columns]; computes exact attention, of which only the log-sum-exp is used. */
async function exactMass(rows: ReadableRows): Promise<Float32Array<ArrayBuffer>> {
  const { q, mass: shapeOf, ...seen } = rows;
  const [tokens = 0, heads = 0] = q.shape;
  using owned = new DisposableStack();
  const make = (label: string, like: Pick<Tensor, "dtype" | "shape">): Tensor =>
    owned.use(Tensor.allocate(q.device, { dtype: like.dtype, shape: like.shape, label }));
  const out = make("exact attention", q);
  const lse = make("log-sum-exp", { dtype: "f32", shape: [tokens, heads] });
  const mass = make("exact mass", shapeOf);
  await attentionDense(q.device, { out, q, lse, ...seen });
  await tileMass(q.device, { mass, q, lse, ...seen });
  return await mass.toFloats();
}
