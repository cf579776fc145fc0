/**
 * Exact attention that measures what a selection of tiles would keep of it: of every tile its
 * antidiagonal mass and its true one.
 *
 * @module
 */
import type { Device } from "../device/device.ts";
import { Tensor } from "../device/tensor.ts";
import { TILE_TOKENS } from "../ffi/symbols.ts";
import { antidiagonalScore } from "../ops/antidiagonal_score.ts";
import { attentionDense } from "../ops/attention_dense.ts";
import { tileMass } from "../ops/tile_mass.ts";
import type { MassCurves } from "./mass_curves.ts";
import { readLayer, type SequenceKeys } from "./sequence.ts";
import type { AttentionStrategy } from "./strategy.ts";
import { firstVisibleTile } from "./window.ts";
import { selectionTensors } from "./xattention.ts";

/** Every query sees all keys before it, and each layer is measured. */
export function measuredAttention(
  device: Device,
  options: {
    keys: SequenceKeys;
    stride: number;
    /** [layers, heads * query tiles] i32: takes how many tiles each row computes, all it sees. */
    counts: Tensor;
    curves: MassCurves;
  },
): AttentionStrategy {
  const { keys, stride, counts, curves } = options;
  const { qOffset, scale, prefixGap } = keys;
  const firstTile = qOffset / TILE_TOKENS;
  return {
    async attend({ layer, q, out }) {
      const [queryTokens = 0, queryHeads = 0] = q.shape;
      const segments = await readLayer(keys, layer);
      const { prefix } = segments;
      const window = keys.windowOf(layer);
      const common = { keys: segments.keys, prefix, qOffset, scale, window, prefixGap };
      const { mass: shape } = selectionTensors({
        queryHeads,
        queryTokens,
        keyTokens: qOffset + queryTokens,
      });
      using owned = new DisposableStack();
      const make = (label: string, extents: readonly number[]): Tensor =>
        owned.use(Tensor.allocate(device, { dtype: "f32", shape: extents, label }));
      const lse = make("log-sum-exp", [queryTokens, queryHeads]);
      const [mass, exact] = [make("mass", shape), make("exact mass", shape)];
      await attentionDense(device, { out, q, lse, ...common });
      await antidiagonalScore(device, { mass, q, ...common, stride });
      await tileMass(device, { mass: exact, q, lse, ...common });
      const place = { window, prefixTokens: prefix?.tokens ?? 0, prefixGap };
      const seenBy = (row: number) =>
        [firstVisibleTile(place, firstTile + row), firstTile + row] as const;
      const floats = { mass: await mass.toFloats(), exact: await exact.toFloats() };
      curves.add({ layer, shape, ...floats, seenBy });
      const [, rows = 0] = shape;
      const seen = Int32Array.from({ length: queryHeads * rows }, (_, i) => {
        const [first, last] = seenBy(i % rows);
        return last + 1 - first;
      });
      const [layers = 1] = counts.shape;
      const own = counts.rows(layer, 1).reshape([counts.size / layers]).rows(0, seen.length);
      await own.writeFrom(seen);
    },
  };
}
