/**
 * Writes what an op takes as C lays it out.
 *
 * This file is generated from `kernels/sx_kernels.h` by `deno task generate`: do not edit it.
 *
 * @module
 */
import type { OpParams } from "./op_params.ts";
import type {
  AntidiagonalScoreParams,
  AttentionDecodeParams,
  AttentionDenseParams,
  KeyValues,
} from "./attention_params.ts";
import type { MatmulParams } from "./params.ts";
import { type StructViews, writeInt, writeSize } from "./struct_views.ts";

// Structures within others, which begin so many words of 8 bytes after the memory itself.

function writeMatmul(to: StructViews, at: number, p: MatmulParams): void {
  to.u64[at] = p.out;
  to.u64[at + 1] = p.x;
  writeInt(to.i32, 2 * at + 4, p.xDtype);
  to.u64[at + 3] = p.xScales;
  to.u64[at + 4] = p.weight;
  writeInt(to.i32, 2 * at + 10, p.weightDtype);
  to.u64[at + 6] = p.weightScales;
  writeInt(to.i32, 2 * at + 14, p.accumulate);
  writeSize(to.i32, 2 * at + 16, p.m);
  writeSize(to.i32, 2 * at + 18, p.n);
  writeSize(to.i32, 2 * at + 20, p.k);
  writeSize(to.i32, 2 * at + 22, p.xStride);
  writeSize(to.i32, 2 * at + 24, p.outStride);
}

function writeKeyValues(to: StructViews, at: number, p: KeyValues): void {
  to.u64[at] = p.keys;
  to.u64[at + 1] = p.values;
  to.u64[at + 2] = p.prefixKeys;
  to.u64[at + 3] = p.prefixValues;
  writeInt(to.i32, 2 * at + 8, p.dtype);
  writeSize(to.i32, 2 * at + 10, p.keyTokens);
  writeSize(to.i32, 2 * at + 12, p.prefixTokens);
  writeSize(to.i32, 2 * at + 14, p.kvHeads);
  writeSize(to.i32, 2 * at + 16, p.headDim);
  writeSize(to.i32, 2 * at + 18, p.tokenStride);
  writeSize(to.i32, 2 * at + 20, p.headStride);
  writeSize(to.i32, 2 * at + 22, p.prefixTokenStride);
  writeSize(to.i32, 2 * at + 24, p.prefixHeadStride);
  writeSize(to.i32, 2 * at + 26, p.prefixGap);
}

function writeAttentionDense(to: StructViews, at: number, p: AttentionDenseParams): void {
  to.u64[at] = p.out;
  writeInt(to.i32, 2 * at + 2, p.outDtype);
  to.u64[at + 2] = p.lseLog2;
  to.u64[at + 3] = p.q;
  writeInt(to.i32, 2 * at + 8, p.qDtype);
  writeKeyValues(to, at + 5, p.kv);
  writeSize(to.i32, 2 * at + 38, p.qTokens);
  writeSize(to.i32, 2 * at + 40, p.qOffset);
  writeSize(to.i32, 2 * at + 42, p.qHeads);
  writeSize(to.i32, 2 * at + 44, p.window);
  to.f32[2 * at + 46] = p.scale;
}

function writeAttentionDecode(to: StructViews, at: number, p: AttentionDecodeParams): void {
  to.u64[at] = p.out;
  writeInt(to.i32, 2 * at + 2, p.outDtype);
  to.u64[at + 2] = p.lseLog2;
  to.u64[at + 3] = p.q;
  writeInt(to.i32, 2 * at + 8, p.qDtype);
  to.u64[at + 5] = p.keys;
  to.u64[at + 6] = p.values;
  writeInt(to.i32, 2 * at + 14, p.kvDtype);
  to.u64[at + 8] = p.firstRow;
  to.u64[at + 9] = p.keyCount;
  writeInt(to.i32, 2 * at + 20, p.causal);
  writeSize(to.i32, 2 * at + 22, p.window);
  writeSize(to.i32, 2 * at + 24, p.sequences);
  writeSize(to.i32, 2 * at + 26, p.qTokens);
  writeSize(to.i32, 2 * at + 28, p.sequenceCapacity);
  writeSize(to.i32, 2 * at + 30, p.keyCapacity);
  writeSize(to.i32, 2 * at + 32, p.qHeads);
  writeSize(to.i32, 2 * at + 34, p.kvHeads);
  writeSize(to.i32, 2 * at + 36, p.headDim);
  writeSize(to.i32, 2 * at + 38, p.tokenStride);
  writeSize(to.i32, 2 * at + 40, p.headStride);
  to.f32[2 * at + 42] = p.scale;
}

function writeAntidiagonalScore(to: StructViews, at: number, p: AntidiagonalScoreParams): void {
  to.u64[at] = p.mass;
  to.u64[at + 1] = p.q;
  writeInt(to.i32, 2 * at + 4, p.qDtype);
  writeKeyValues(to, at + 3, p.kv);
  writeSize(to.i32, 2 * at + 34, p.qTokens);
  writeSize(to.i32, 2 * at + 36, p.qOffset);
  writeSize(to.i32, 2 * at + 38, p.qHeads);
  writeSize(to.i32, 2 * at + 40, p.window);
  writeSize(to.i32, 2 * at + 42, p.stride);
  to.f32[2 * at + 44] = p.scale;
}

/** Writes the structure of each op to the beginning of some memory. */
export const PARAM_WRITERS: {
  readonly [K in keyof OpParams]: (to: StructViews, params: OpParams[K]) => void;
} = {
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
    to.u64[6] = p.table;
    to.u64[7] = p.rows;
    writeSize(to.i32, 16, p.tokens);
    writeSize(to.i32, 18, p.qHeads);
    writeSize(to.i32, 20, p.kvHeads);
    writeSize(to.i32, 22, p.headDim);
    writeSize(to.i32, 24, p.tokenStride);
    writeSize(to.i32, 26, p.headStride);
    writeSize(to.i32, 28, p.rotaryDim);
    writeSize(to.i32, 30, p.outDim);
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
    writeSize(to.i32, 6, p.rows);
    writeSize(to.i32, 8, p.dim);
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
  sx_attention_dense(to, p) {
    writeAttentionDense(to, 0, p);
  },
  sx_attention_block_sparse(to, p) {
    writeAttentionDense(to, 0, p.attention);
    to.u64[24] = p.counts;
    to.u64[25] = p.indices;
    writeSize(to.i32, 52, p.indexStride);
  },
  sx_attention_decode(to, p) {
    writeAttentionDecode(to, 0, p);
  },
  sx_decode_select(to, p) {
    to.u64[0] = p.counts;
    to.u64[1] = p.indices;
    to.u64[2] = p.mass;
    to.u64[3] = p.q;
    writeInt(to.i32, 8, p.qDtype);
    to.u64[5] = p.meanKeys;
    to.u64[6] = p.spread;
    to.u64[7] = p.codes;
    writeInt(to.i32, 16, p.kvDtype);
    to.u64[9] = p.firstRow;
    to.u64[10] = p.pooledTiles;
    writeInt(to.i32, 22, p.byThreshold);
    writeSize(to.i32, 24, p.sequences);
    writeSize(to.i32, 26, p.qTokens);
    writeSize(to.i32, 28, p.meanCapacity);
    writeSize(to.i32, 30, p.indexStride);
    writeSize(to.i32, 32, p.unitTiles);
    writeSize(to.i32, 34, p.firstTiles);
    writeSize(to.i32, 36, p.qHeads);
    writeSize(to.i32, 38, p.kvHeads);
    writeSize(to.i32, 40, p.headDim);
    writeSize(to.i32, 42, p.meanHeadStride);
    writeSize(to.i32, 44, p.codeHeadStride);
    to.f32[46] = p.scale;
    to.f32[47] = p.keep;
  },
  sx_attention_decode_tiles(to, p) {
    writeAttentionDecode(to, 0, p.attention);
    to.u64[22] = p.meanKeys;
    to.u64[23] = p.meanValues;
    to.u64[24] = p.pooledTiles;
    to.u64[25] = p.counts;
    to.u64[26] = p.indices;
    writeSize(to.i32, 54, p.indexStride);
    writeSize(to.i32, 56, p.meanCapacity);
    writeSize(to.i32, 58, p.meanHeadStride);
  },
  sx_merge_states(to, p) {
    to.u64[0] = p.out;
    writeInt(to.i32, 2, p.outDtype);
    to.u64[2] = p.parts;
    writeInt(to.i32, 6, p.byScore);
    writeSize(to.i32, 8, p.partCount);
    writeSize(to.i32, 10, p.partStride);
    writeSize(to.i32, 12, p.tokens);
    writeSize(to.i32, 14, p.heads);
    writeSize(to.i32, 16, p.headDim);
  },
  sx_antidiagonal_score(to, p) {
    writeAntidiagonalScore(to, 0, p);
  },
  sx_select_tiles(to, p) {
    to.u64[0] = p.counts;
    to.u64[1] = p.indices;
    to.u64[2] = p.mass;
    writeSize(to.i32, 6, p.heads);
    writeSize(to.i32, 8, p.qTiles);
    writeSize(to.i32, 10, p.keyTiles);
    writeSize(to.i32, 12, p.firstTile);
    writeSize(to.i32, 14, p.indexStride);
    writeSize(to.i32, 16, p.window);
    writeSize(to.i32, 18, p.prefixTokens);
    writeSize(to.i32, 20, p.prefixGap);
    to.u64[11] = p.headThresholds;
    to.f32[24] = p.threshold;
    writeInt(to.i32, 25, p.byShare);
  },
  sx_tile_mass(to, p) {
    writeAntidiagonalScore(to, 0, p.tiles);
    to.u64[23] = p.lseLog2;
  },
  sx_tile_means(to, p) {
    to.u64[0] = p.meanKeys;
    to.u64[1] = p.meanValues;
    writeInt(to.i32, 4, p.meanDtype);
    writeKeyValues(to, 3, p.kv);
    writeSize(to.i32, 34, p.firstTile);
    writeSize(to.i32, 36, p.tileCount);
    writeSize(to.i32, 38, p.meanHeadStride);
  },
  sx_key_codes(to, p) {
    to.u64[0] = p.codes;
    to.u64[1] = p.spread;
    to.u64[2] = p.meanKeys;
    writeInt(to.i32, 6, p.meanDtype);
    to.u64[4] = p.keys;
    writeInt(to.i32, 10, p.kvDtype);
    writeSize(to.i32, 12, p.keyTokens);
    writeSize(to.i32, 14, p.kvHeads);
    writeSize(to.i32, 16, p.headDim);
    writeSize(to.i32, 18, p.tokenStride);
    writeSize(to.i32, 20, p.headStride);
    writeSize(to.i32, 22, p.firstTile);
    writeSize(to.i32, 24, p.tileCount);
    writeSize(to.i32, 26, p.meanHeadStride);
    writeSize(to.i32, 28, p.codeHeadStride);
  },
  sx_attention_rest(to, p) {
    to.u64[0] = p.out;
    writeInt(to.i32, 2, p.outDtype);
    to.u64[2] = p.lseLog2;
    to.u64[3] = p.partial;
    to.u64[4] = p.partialLseLog2;
    to.u64[5] = p.q;
    writeInt(to.i32, 12, p.qDtype);
    to.u64[7] = p.meanKeys;
    to.u64[8] = p.meanValues;
    writeInt(to.i32, 18, p.meanDtype);
    to.u64[10] = p.counts;
    to.u64[11] = p.indices;
    writeSize(to.i32, 24, p.indexStride);
    writeSize(to.i32, 26, p.meanHeadStride);
    writeSize(to.i32, 28, p.qTokens);
    writeSize(to.i32, 30, p.qOffset);
    writeSize(to.i32, 32, p.qHeads);
    writeSize(to.i32, 34, p.kvHeads);
    writeSize(to.i32, 36, p.headDim);
    writeSize(to.i32, 38, p.window);
    writeSize(to.i32, 40, p.prefixTokens);
    writeSize(to.i32, 42, p.prefixGap);
    to.f32[44] = p.scale;
  },
  sx_key_mean(to, p) {
    to.u64[0] = p.out;
    to.u64[1] = p.keys;
    writeInt(to.i32, 4, p.kvDtype);
    writeSize(to.i32, 6, p.tokens);
    writeSize(to.i32, 8, p.kvHeads);
    writeSize(to.i32, 10, p.headDim);
    writeSize(to.i32, 12, p.tokenStride);
    writeSize(to.i32, 14, p.headStride);
  },
  sx_rank_score(to, p) {
    to.u64[0] = p.score;
    to.u64[1] = p.q;
    writeInt(to.i32, 4, p.qDtype);
    to.u64[3] = p.anchorMean;
    to.u64[4] = p.keys;
    writeInt(to.i32, 10, p.kvDtype);
    writeSize(to.i32, 12, p.qTokens);
    writeSize(to.i32, 14, p.keyTokens);
    writeSize(to.i32, 16, p.qHeads);
    writeSize(to.i32, 18, p.kvHeads);
    writeSize(to.i32, 20, p.headDim);
    writeSize(to.i32, 22, p.tokenStride);
    writeSize(to.i32, 24, p.headStride);
    writeSize(to.i32, 26, p.stride);
    to.f32[28] = p.scale;
  },
};
