/**
 * Runs on a GPU, once each and in this order, the ops whose counters `docs/performance.md` has: dense
 * and block-sparse attention, and the products of decode steps of `--rows` sequences with the output's,
 * the gate and up and the down weights, in bf16 and then in e4m3, at Llama-3.1-8B's shape. For NVIDIA's
 * Nsight Compute, which takes the other kernels as they are:
 *
 *   ncu --set full --clock-control none -k regex:"attention_hopper|matmul_rows" \
 *     deno run -A scripts/profile_ops.ts [--tokens 32768] [--density 0.1] [--rows 1,16,32]
 *
 * @module
 */
import { parseArgs } from "node:util";
import { CaseTensors } from "../commands/bench/kernel_cases.ts";
import { RandomSelection } from "../lib/attention/random_selection.ts";
import { openCudaDevice } from "../lib/device/cuda.ts";
import { Fp8Matrix } from "../lib/device/fp8_matrix.ts";
import { TILE_TOKENS } from "../lib/ffi/symbols.ts";
import { attentionBlockSparse } from "../lib/ops/attention_block_sparse.ts";
import { attentionDense } from "../lib/ops/attention_dense.ts";
import { matmulRows } from "../lib/ops/matmul_rows.ts";
import { quantizeRows } from "../lib/ops/quantize_rows.ts";

/** Heads and head size of an 8B Llama. */
const HEADS = { query: 32, kv: 8, dim: 128 };
/** The rows and columns of the weights. */
const PRODUCTS = [[4096, 4096], [28672, 4096], [4096, 14336]] as const;

const { values } = parseArgs({
  options: {
    tokens: { type: "string", default: "32768" },
    density: { type: "string", default: "0.1" },
    rows: { type: "string", default: "1,16,32" },
  },
});
const tokens = Number(values.tokens);
if (!Number.isInteger(tokens) || tokens < TILE_TOKENS) {
  throw new RangeError(`Cannot run ops as '--tokens' must be at least ${TILE_TOKENS}: ${tokens}`);
}
const counts = values.rows.split(",").map(Number);
if (!counts.every((count) => Number.isInteger(count) && count >= 1)) {
  throw new RangeError(
    `Cannot run ops as '--rows' must be whole numbers from 1 on: ${values.rows}`,
  );
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
using owned = new DisposableStack();
for (const [n, k] of PRODUCTS) {
  const weight = await tensors.random("bf16", [n, k]);
  const rounded = Fp8Matrix.allocate(device, { shape: [n, k], label: "rounded" }, owned);
  await quantizeRows(device, { out: rounded, in: weight });
  for (const rows of counts) {
    const x = await tensors.random("bf16", [rows, k], 1);
    const out = tensors.empty("f32", rows, n);
    await matmulRows(device, { out, x, weight });
    await matmulRows(device, { out, x, weight: rounded });
  }
}
await device.kernels.idle();
