/**
 * Where the time of a run went: matrix products, attention, selection, the rest.
 *
 * @module
 */
import type { OpCost } from "../../lib/device/profiled.ts";
import type { OpName } from "../../lib/ffi/symbols.ts";
import { ASSUMED_DENSITY } from "../../lib/ops/attention_block_sparse.ts";

/** Seconds by kind of work, and operations of those that count. */
export interface CostSplit {
  readonly matmulS: number;
  readonly attentionS: number;
  readonly selectionS: number;
  /** All other ops. */
  readonly otherS: number;
  readonly matmulFlops: number;
  readonly attentionFlops: number;
}

const PRODUCTS: readonly OpName[] = ["sx_matmul", "sx_matmul_rows"];
const ATTENTION: readonly OpName[] = [
  "sx_attention_dense",
  "sx_attention_block_sparse",
  "sx_attention_decode",
  "sx_tile_means",
  "sx_attention_rest",
];
const SELECTION: readonly OpName[] = ["sx_antidiagonal_score", "sx_select_tiles"];

/**
 * Adds up what was counted.
 *
 * @param costs By op. @param density The share of tiles that block-sparse attention computed.
 */
export function splitCosts(costs: ReadonlyMap<OpName, OpCost>, density: number): CostSplit {
  const sum = (ops: readonly OpName[], of: (cost: OpCost) => number): number =>
    ops.reduce((total, op) => {
      const cost = costs.get(op);
      return cost === undefined ? total : total + of(cost);
    }, 0);
  const seconds = (ops: readonly OpName[]) => sum(ops, ({ ms }) => ms / 1000);
  const named: readonly OpName[] = [...PRODUCTS, ...ATTENTION, ...SELECTION];
  const sparse = sum(["sx_attention_block_sparse"], ({ flops }) => flops);
  const rest = sum(["sx_attention_rest"], ({ flops }) => flops);
  const dense = sum(["sx_attention_dense", "sx_attention_decode"], ({ flops }) => flops);
  return {
    matmulS: seconds(PRODUCTS),
    attentionS: seconds(ATTENTION),
    selectionS: seconds(SELECTION),
    otherS: seconds([...costs.keys()].filter((op) => !named.includes(op))),
    matmulFlops: sum(PRODUCTS, ({ flops }) => flops),
    attentionFlops: dense + sparse / ASSUMED_DENSITY * density + rest * (1 - density),
  };
}
