/**
 * Writes what an op takes as C lays it out.
 *
 * This file is generated from `kernels/sx_kernels.h` by `deno task generate`: do not edit it.
 *
 * @module
 */
import { ATTENTION_WRITERS, type ParamWriters } from "./attention_structs.ts";
import type { MatmulParams } from "./params.ts";
import { type StructViews, writeInt, writeSize } from "./struct_views.ts";

// Structures within others, which begin so many words of 8 bytes after the memory itself.

function writeMatmul(to: StructViews, at: number, p: MatmulParams): void {
  to.u64[at] = p.out;
  writeInt(to.i32, 2 * at + 2, p.outDtype);
  to.u64[at + 2] = p.x;
  writeInt(to.i32, 2 * at + 6, p.xDtype);
  to.u64[at + 4] = p.xScales;
  to.u64[at + 5] = p.weight;
  writeInt(to.i32, 2 * at + 12, p.weightDtype);
  to.u64[at + 7] = p.weightScales;
  writeInt(to.i32, 2 * at + 16, p.accumulate);
  writeSize(to.i32, 2 * at + 18, p.m);
  writeSize(to.i32, 2 * at + 20, p.n);
  writeSize(to.i32, 2 * at + 22, p.k);
  writeSize(to.i32, 2 * at + 24, p.xStride);
  writeSize(to.i32, 2 * at + 26, p.outStride);
}

/** The writer of each op. */
export const PARAM_WRITERS: ParamWriters = {
  ...ATTENTION_WRITERS,
  sx_copy(to, p) {
    to.u64[0] = p.out;
    to.u64[1] = p.in;
    writeSize(to.i32, 4, p.bytes);
    writeSize(to.i32, 6, p.rows);
    writeSize(to.i32, 8, p.outStride);
    writeSize(to.i32, 10, p.inStride);
  },
  sx_convert(to, p) {
    to.u64[0] = p.out;
    writeInt(to.i32, 2, p.outDtype);
    to.u64[2] = p.in;
    writeInt(to.i32, 6, p.inDtype);
    writeSize(to.i32, 8, p.count);
  },
  sx_word_sum(to, p) {
    to.u64[0] = p.out;
    to.u64[1] = p.in;
    writeSize(to.i32, 4, p.bytes);
  },
  sx_embedding(to, p) {
    to.u64[0] = p.out;
    to.u64[1] = p.table;
    writeInt(to.i32, 4, p.tableDtype);
    to.u64[3] = p.ids;
    writeSize(to.i32, 8, p.tokens);
    writeSize(to.i32, 10, p.dim);
    writeSize(to.i32, 12, p.vocab);
    to.f32[14] = p.scale;
  },
  sx_rms_norm(to, p) {
    to.u64[0] = p.out;
    writeInt(to.i32, 2, p.outDtype);
    to.u64[2] = p.residual;
    to.u64[3] = p.delta;
    to.u64[4] = p.weight;
    writeInt(to.i32, 10, p.weightDtype);
    writeSize(to.i32, 12, p.rows);
    writeSize(to.i32, 14, p.dim);
    to.f32[16] = p.eps;
  },
  sx_quantize(to, p) {
    to.u64[0] = p.out;
    to.u64[1] = p.scales;
    to.u64[2] = p.in;
    writeInt(to.i32, 6, p.inDtype);
    writeSize(to.i32, 8, p.n);
    writeSize(to.i32, 10, p.k);
  },
  sx_quantize_rows(to, p) {
    to.u64[0] = p.out;
    to.u64[1] = p.scales;
    to.u64[2] = p.in;
    writeInt(to.i32, 6, p.inDtype);
    writeSize(to.i32, 8, p.rows);
    writeSize(to.i32, 10, p.dim);
    writeSize(to.i32, 12, p.inStride);
  },
  sx_matmul(to, p) {
    writeMatmul(to, 0, p);
  },
  sx_matmul_rows(to, p) {
    writeMatmul(to, 0, p.product);
  },
  sx_rope_table(to, p) {
    to.u64[0] = p.table;
    to.u64[1] = p.inverseFrequency;
    to.u64[2] = p.positions;
    writeSize(to.i32, 6, p.tokens);
    writeSize(to.i32, 8, p.rotaryDim);
    writeSize(to.i32, 10, p.frequencyStride);
    to.f32[12] = p.scale;
  },
  sx_rope(to, p) {
    to.u64[0] = p.qOut;
    writeInt(to.i32, 2, p.qDtype);
    to.u64[2] = p.keys;
    to.u64[3] = p.values;
    writeInt(to.i32, 8, p.cacheDtype);
    to.u64[5] = p.qkv;
    writeInt(to.i32, 12, p.qkvDtype);
    to.u64[7] = p.table;
    to.u64[8] = p.rows;
    writeSize(to.i32, 18, p.tokens);
    writeSize(to.i32, 20, p.qHeads);
    writeSize(to.i32, 22, p.kvHeads);
    writeSize(to.i32, 24, p.headDim);
    writeSize(to.i32, 26, p.tokenStride);
    writeSize(to.i32, 28, p.headStride);
    writeSize(to.i32, 30, p.rotaryDim);
    writeSize(to.i32, 32, p.outDim);
  },
  sx_head_norm(to, p) {
    to.u64[0] = p.x;
    to.u64[1] = p.weight;
    writeInt(to.i32, 4, p.weightDtype);
    writeSize(to.i32, 6, p.rows);
    writeSize(to.i32, 8, p.heads);
    writeSize(to.i32, 10, p.dim);
    writeSize(to.i32, 12, p.rowStride);
    to.f32[14] = p.eps;
  },
  sx_add(to, p) {
    to.u64[0] = p.out;
    to.u64[1] = p.in;
    writeSize(to.i32, 4, p.rows);
    writeSize(to.i32, 6, p.dim);
    writeSize(to.i32, 8, p.outStride);
    writeSize(to.i32, 10, p.inStride);
  },
  sx_swiglu(to, p) {
    to.u64[0] = p.out;
    writeInt(to.i32, 2, p.outDtype);
    to.u64[2] = p.gateUp;
    writeInt(to.i32, 6, p.gateUpDtype);
    writeSize(to.i32, 8, p.rows);
    writeSize(to.i32, 10, p.dim);
  },
  sx_argmax(to, p) {
    to.u64[0] = p.out;
    to.u64[1] = p.logits;
    writeSize(to.i32, 4, p.rows);
    writeSize(to.i32, 6, p.count);
  },
  sx_top_k(to, p) {
    to.u64[0] = p.outIds;
    to.u64[1] = p.outValues;
    to.u64[2] = p.logits;
    writeSize(to.i32, 6, p.count);
    writeSize(to.i32, 8, p.k);
  },
};
