/**
 * Writes what an op takes as C lays it out.
 *
 * This file is generated from `kernels/sx_kernels.h` by `deno task generate`: do not edit it.
 *
 * @module
 */
import type {
  AddParams,
  AntidiagonalScoreParams,
  ArgmaxParams,
  AttentionBlockSparseParams,
  AttentionDecodeParams,
  AttentionDenseParams,
  ConvertParams,
  CopyParams,
  EmbeddingParams,
  HeadNormParams,
  KeyMeanParams,
  MatmulParams,
  MatmulRowsParams,
  MergeStatesParams,
  OpParams,
  RankScoreParams,
  RmsNormParams,
  RopeParams,
  RopeTableParams,
  SelectTilesParams,
  SwigluParams,
  TileMassParams,
  TileMeansParams,
  TopKParams,
} from "./params.ts";
import { type StructViews, writeInt, writeSize } from "./struct_views.ts";

/** The bytes of each op's structure. */
export const PARAM_BYTES = {
  sx_copy: 48,
  sx_convert: 40,
  sx_embedding: 64,
  sx_rms_norm: 72,
  sx_matmul: 80,
  sx_matmul_rows: 80,
  sx_rope_table: 56,
  sx_rope: 128,
  sx_head_norm: 64,
  sx_add: 48,
  sx_swiglu: 40,
  sx_argmax: 32,
  sx_top_k: 40,
  sx_attention_dense: 192,
  sx_attention_block_sparse: 216,
  sx_attention_decode: 176,
  sx_merge_states: 72,
  sx_antidiagonal_score: 184,
  sx_select_tiles: 104,
  sx_tile_mass: 192,
  sx_tile_means: 160,
  sx_key_mean: 64,
  sx_rank_score: 120,
} as const satisfies Readonly<Record<keyof OpParams, number>>;

/** Writes the structure of each op to the beginning of some memory. */
export const PARAM_WRITERS: {
  readonly [K in keyof OpParams]: (to: StructViews, params: OpParams[K]) => void;
} = {
  sx_copy(to: StructViews, p: CopyParams): void {
    to.u64[0] = p.out;
    to.u64[1] = p.in;
    writeSize(to.i32, 4, p.bytes);
    writeSize(to.i32, 6, p.rows);
    writeSize(to.i32, 8, p.outStride);
    writeSize(to.i32, 10, p.inStride);
  },
  sx_convert(to: StructViews, p: ConvertParams): void {
    to.u64[0] = p.out;
    writeInt(to.i32, 2, p.outDtype);
    to.u64[2] = p.in;
    writeInt(to.i32, 6, p.inDtype);
    writeSize(to.i32, 8, p.count);
  },
  sx_embedding(to: StructViews, p: EmbeddingParams): void {
    to.u64[0] = p.out;
    to.u64[1] = p.table;
    writeInt(to.i32, 4, p.tableDtype);
    to.u64[3] = p.ids;
    writeSize(to.i32, 8, p.tokens);
    writeSize(to.i32, 10, p.dim);
    writeSize(to.i32, 12, p.vocab);
    to.f32[14] = p.scale;
  },
  sx_rms_norm(to: StructViews, p: RmsNormParams): void {
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
  sx_matmul(to: StructViews, p: MatmulParams): void {
    to.u64[0] = p.out;
    to.u64[1] = p.x;
    writeInt(to.i32, 4, p.xDtype);
    to.u64[3] = p.weight;
    writeInt(to.i32, 8, p.weightDtype);
    writeInt(to.i32, 9, p.accumulate);
    writeSize(to.i32, 10, p.m);
    writeSize(to.i32, 12, p.n);
    writeSize(to.i32, 14, p.k);
    writeSize(to.i32, 16, p.xStride);
    writeSize(to.i32, 18, p.outStride);
  },
  sx_matmul_rows(to: StructViews, p: MatmulRowsParams): void {
    to.u64[0] = p.product.out;
    to.u64[1] = p.product.x;
    writeInt(to.i32, 4, p.product.xDtype);
    to.u64[3] = p.product.weight;
    writeInt(to.i32, 8, p.product.weightDtype);
    writeInt(to.i32, 9, p.product.accumulate);
    writeSize(to.i32, 10, p.product.m);
    writeSize(to.i32, 12, p.product.n);
    writeSize(to.i32, 14, p.product.k);
    writeSize(to.i32, 16, p.product.xStride);
    writeSize(to.i32, 18, p.product.outStride);
  },
  sx_rope_table(to: StructViews, p: RopeTableParams): void {
    to.u64[0] = p.table;
    to.u64[1] = p.inverseFrequency;
    to.u64[2] = p.positions;
    writeSize(to.i32, 6, p.tokens);
    writeSize(to.i32, 8, p.rotaryDim);
    writeSize(to.i32, 10, p.frequencyStride);
    to.f32[12] = p.scale;
  },
  sx_rope(to: StructViews, p: RopeParams): void {
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
  sx_head_norm(to: StructViews, p: HeadNormParams): void {
    to.u64[0] = p.x;
    to.u64[1] = p.weight;
    writeInt(to.i32, 4, p.weightDtype);
    writeSize(to.i32, 6, p.rows);
    writeSize(to.i32, 8, p.heads);
    writeSize(to.i32, 10, p.dim);
    writeSize(to.i32, 12, p.rowStride);
    to.f32[14] = p.eps;
  },
  sx_add(to: StructViews, p: AddParams): void {
    to.u64[0] = p.out;
    to.u64[1] = p.in;
    writeSize(to.i32, 4, p.rows);
    writeSize(to.i32, 6, p.dim);
    writeSize(to.i32, 8, p.outStride);
    writeSize(to.i32, 10, p.inStride);
  },
  sx_swiglu(to: StructViews, p: SwigluParams): void {
    to.u64[0] = p.out;
    writeInt(to.i32, 2, p.outDtype);
    to.u64[2] = p.gateUp;
    writeSize(to.i32, 6, p.rows);
    writeSize(to.i32, 8, p.dim);
  },
  sx_argmax(to: StructViews, p: ArgmaxParams): void {
    to.u64[0] = p.out;
    to.u64[1] = p.logits;
    writeSize(to.i32, 4, p.rows);
    writeSize(to.i32, 6, p.count);
  },
  sx_top_k(to: StructViews, p: TopKParams): void {
    to.u64[0] = p.outIds;
    to.u64[1] = p.outValues;
    to.u64[2] = p.logits;
    writeSize(to.i32, 6, p.count);
    writeSize(to.i32, 8, p.k);
  },
  sx_attention_dense(to: StructViews, p: AttentionDenseParams): void {
    to.u64[0] = p.out;
    writeInt(to.i32, 2, p.outDtype);
    to.u64[2] = p.lseLog2;
    to.u64[3] = p.q;
    writeInt(to.i32, 8, p.qDtype);
    to.u64[5] = p.kv.keys;
    to.u64[6] = p.kv.values;
    to.u64[7] = p.kv.prefixKeys;
    to.u64[8] = p.kv.prefixValues;
    writeInt(to.i32, 18, p.kv.dtype);
    writeSize(to.i32, 20, p.kv.keyTokens);
    writeSize(to.i32, 22, p.kv.prefixTokens);
    writeSize(to.i32, 24, p.kv.kvHeads);
    writeSize(to.i32, 26, p.kv.headDim);
    writeSize(to.i32, 28, p.kv.tokenStride);
    writeSize(to.i32, 30, p.kv.headStride);
    writeSize(to.i32, 32, p.kv.prefixTokenStride);
    writeSize(to.i32, 34, p.kv.prefixHeadStride);
    writeSize(to.i32, 36, p.kv.prefixGap);
    writeSize(to.i32, 38, p.qTokens);
    writeSize(to.i32, 40, p.qOffset);
    writeSize(to.i32, 42, p.qHeads);
    writeSize(to.i32, 44, p.window);
    to.f32[46] = p.scale;
  },
  sx_attention_block_sparse(to: StructViews, p: AttentionBlockSparseParams): void {
    to.u64[0] = p.attention.out;
    writeInt(to.i32, 2, p.attention.outDtype);
    to.u64[2] = p.attention.lseLog2;
    to.u64[3] = p.attention.q;
    writeInt(to.i32, 8, p.attention.qDtype);
    to.u64[5] = p.attention.kv.keys;
    to.u64[6] = p.attention.kv.values;
    to.u64[7] = p.attention.kv.prefixKeys;
    to.u64[8] = p.attention.kv.prefixValues;
    writeInt(to.i32, 18, p.attention.kv.dtype);
    writeSize(to.i32, 20, p.attention.kv.keyTokens);
    writeSize(to.i32, 22, p.attention.kv.prefixTokens);
    writeSize(to.i32, 24, p.attention.kv.kvHeads);
    writeSize(to.i32, 26, p.attention.kv.headDim);
    writeSize(to.i32, 28, p.attention.kv.tokenStride);
    writeSize(to.i32, 30, p.attention.kv.headStride);
    writeSize(to.i32, 32, p.attention.kv.prefixTokenStride);
    writeSize(to.i32, 34, p.attention.kv.prefixHeadStride);
    writeSize(to.i32, 36, p.attention.kv.prefixGap);
    writeSize(to.i32, 38, p.attention.qTokens);
    writeSize(to.i32, 40, p.attention.qOffset);
    writeSize(to.i32, 42, p.attention.qHeads);
    writeSize(to.i32, 44, p.attention.window);
    to.f32[46] = p.attention.scale;
    to.u64[24] = p.counts;
    to.u64[25] = p.indices;
    writeSize(to.i32, 52, p.indexStride);
  },
  sx_attention_decode(to: StructViews, p: AttentionDecodeParams): void {
    to.u64[0] = p.out;
    writeInt(to.i32, 2, p.outDtype);
    to.u64[2] = p.lseLog2;
    to.u64[3] = p.q;
    writeInt(to.i32, 8, p.qDtype);
    to.u64[5] = p.keys;
    to.u64[6] = p.values;
    writeInt(to.i32, 14, p.kvDtype);
    to.u64[8] = p.firstRow;
    to.u64[9] = p.keyCount;
    writeInt(to.i32, 20, p.causal);
    writeSize(to.i32, 22, p.window);
    writeSize(to.i32, 24, p.sequences);
    writeSize(to.i32, 26, p.qTokens);
    writeSize(to.i32, 28, p.sequenceCapacity);
    writeSize(to.i32, 30, p.keyCapacity);
    writeSize(to.i32, 32, p.qHeads);
    writeSize(to.i32, 34, p.kvHeads);
    writeSize(to.i32, 36, p.headDim);
    writeSize(to.i32, 38, p.tokenStride);
    writeSize(to.i32, 40, p.headStride);
    to.f32[42] = p.scale;
  },
  sx_merge_states(to: StructViews, p: MergeStatesParams): void {
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
  sx_antidiagonal_score(to: StructViews, p: AntidiagonalScoreParams): void {
    to.u64[0] = p.mass;
    to.u64[1] = p.q;
    writeInt(to.i32, 4, p.qDtype);
    to.u64[3] = p.kv.keys;
    to.u64[4] = p.kv.values;
    to.u64[5] = p.kv.prefixKeys;
    to.u64[6] = p.kv.prefixValues;
    writeInt(to.i32, 14, p.kv.dtype);
    writeSize(to.i32, 16, p.kv.keyTokens);
    writeSize(to.i32, 18, p.kv.prefixTokens);
    writeSize(to.i32, 20, p.kv.kvHeads);
    writeSize(to.i32, 22, p.kv.headDim);
    writeSize(to.i32, 24, p.kv.tokenStride);
    writeSize(to.i32, 26, p.kv.headStride);
    writeSize(to.i32, 28, p.kv.prefixTokenStride);
    writeSize(to.i32, 30, p.kv.prefixHeadStride);
    writeSize(to.i32, 32, p.kv.prefixGap);
    writeSize(to.i32, 34, p.qTokens);
    writeSize(to.i32, 36, p.qOffset);
    writeSize(to.i32, 38, p.qHeads);
    writeSize(to.i32, 40, p.window);
    writeSize(to.i32, 42, p.stride);
    to.f32[44] = p.scale;
  },
  sx_select_tiles(to: StructViews, p: SelectTilesParams): void {
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
  },
  sx_tile_mass(to: StructViews, p: TileMassParams): void {
    to.u64[0] = p.tiles.mass;
    to.u64[1] = p.tiles.q;
    writeInt(to.i32, 4, p.tiles.qDtype);
    to.u64[3] = p.tiles.kv.keys;
    to.u64[4] = p.tiles.kv.values;
    to.u64[5] = p.tiles.kv.prefixKeys;
    to.u64[6] = p.tiles.kv.prefixValues;
    writeInt(to.i32, 14, p.tiles.kv.dtype);
    writeSize(to.i32, 16, p.tiles.kv.keyTokens);
    writeSize(to.i32, 18, p.tiles.kv.prefixTokens);
    writeSize(to.i32, 20, p.tiles.kv.kvHeads);
    writeSize(to.i32, 22, p.tiles.kv.headDim);
    writeSize(to.i32, 24, p.tiles.kv.tokenStride);
    writeSize(to.i32, 26, p.tiles.kv.headStride);
    writeSize(to.i32, 28, p.tiles.kv.prefixTokenStride);
    writeSize(to.i32, 30, p.tiles.kv.prefixHeadStride);
    writeSize(to.i32, 32, p.tiles.kv.prefixGap);
    writeSize(to.i32, 34, p.tiles.qTokens);
    writeSize(to.i32, 36, p.tiles.qOffset);
    writeSize(to.i32, 38, p.tiles.qHeads);
    writeSize(to.i32, 40, p.tiles.window);
    writeSize(to.i32, 42, p.tiles.stride);
    to.f32[44] = p.tiles.scale;
    to.u64[23] = p.lseLog2;
  },
  sx_tile_means(to: StructViews, p: TileMeansParams): void {
    to.u64[0] = p.meanKeys;
    to.u64[1] = p.meanValues;
    writeInt(to.i32, 4, p.meanDtype);
    to.u64[3] = p.kv.keys;
    to.u64[4] = p.kv.values;
    to.u64[5] = p.kv.prefixKeys;
    to.u64[6] = p.kv.prefixValues;
    writeInt(to.i32, 14, p.kv.dtype);
    writeSize(to.i32, 16, p.kv.keyTokens);
    writeSize(to.i32, 18, p.kv.prefixTokens);
    writeSize(to.i32, 20, p.kv.kvHeads);
    writeSize(to.i32, 22, p.kv.headDim);
    writeSize(to.i32, 24, p.kv.tokenStride);
    writeSize(to.i32, 26, p.kv.headStride);
    writeSize(to.i32, 28, p.kv.prefixTokenStride);
    writeSize(to.i32, 30, p.kv.prefixHeadStride);
    writeSize(to.i32, 32, p.kv.prefixGap);
    writeSize(to.i32, 34, p.firstTile);
    writeSize(to.i32, 36, p.tileCount);
    writeSize(to.i32, 38, p.meanHeadStride);
  },
  sx_key_mean(to: StructViews, p: KeyMeanParams): void {
    to.u64[0] = p.out;
    to.u64[1] = p.keys;
    writeInt(to.i32, 4, p.kvDtype);
    writeSize(to.i32, 6, p.tokens);
    writeSize(to.i32, 8, p.kvHeads);
    writeSize(to.i32, 10, p.headDim);
    writeSize(to.i32, 12, p.tokenStride);
    writeSize(to.i32, 14, p.headStride);
  },
  sx_rank_score(to: StructViews, p: RankScoreParams): void {
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
