/**
 * Runs on a GPU, once each and in this order, the ops whose counters `docs/performance.md` has: dense
 * and block-sparse attention, and the products of a token with the output's and the down weights, at
 * Llama-3.1-8B's shape. For NVIDIA's Nsight Compute, which takes the other kernels as they are:
 *
 *   ncu --set full --clock-control none -k regex:"attention_hopper|matmul_rows" \
 *     deno run -A scripts/profile_ops.ts [--tokens 32768] [--density 0.1]
 *
 * @module
 */
import { parseArgs } from "node:util";
import { CaseTensors } from "../commands/bench/kernel_cases.ts";
import { RandomSelection } from "../lib/attention/random_selection.ts";
import { openCudaDevice } from "../lib/device/cuda.ts";
import { TILE_TOKENS } from "../lib/ffi/symbols.ts";
import { attentionBlockSparse } from "../lib/ops/attention_block_sparse.ts";
import { attentionDense } from "../lib/ops/attention_dense.ts";
import { matmulRows } from "../lib/ops/matmul_rows.ts";

/** Heads and head size of an 8B Llama. */
const HEADS = { query: 32, kv: 8, dim: 128 };
/** The rows and columns of the weights. */
const PRODUCTS = [[4096, 4096], [4096, 14336]] as const;

const { values } = parseArgs({
  options: {
    tokens: { type: "string", default: "32768" },
    density: { type: "string", default: "0.1" },
  },
});
const tokens = Number(values.tokens);
if (!Number.isInteger(tokens) || tokens < TILE_TOKENS) {
  throw new RangeError(`Cannot run ops as '--tokens' must be at least ${TILE_TOKENS}: ${tokens}`);
}

using device = await openCudaDevice();
using tensors = new CaseTensors(device);
const q = await tensors.random("bf16", [tokens, HEADS.query, HEADS.dim], 1);
const out = tensors.empty("bf16", tokens, HEADS.query, HEADS.dim);
const shape = [HEADS.kv, tokens, HEADS.dim];
const keys = {
  keys: await tensors.random("bf16", shape, 1),
  values: await tensors.random("bf16", shape, 1),
  ...{ start: 0, tokens },
};
const common = { q, out, keys, qOffset: 0, scale: HEADS.dim ** -0.5 };
const lists = tensors.own(new RandomSelection([device], Number(values.density)));
const queryTiles = Math.ceil(tokens / TILE_TOKENS);
const chosen = await lists.of({ heads: HEADS.query, firstTile: 0, queryTiles }, device);
await attentionDense(device, common);
await attentionBlockSparse(device, { ...common, ...chosen });
for (const [n, k] of PRODUCTS) {
  const x = await tensors.random("bf16", [1, k], 1);
  const weight = await tensors.random("bf16", [n, k]);
  await matmulRows(device, { out: tensors.empty("f32", 1, n), x, weight });
}
await device.kernels.idle();
