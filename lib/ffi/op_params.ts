/**
 * The structure of each op of `kernels/sx_kernels.h`, and its size.
 *
 * This file is generated from `kernels/sx_kernels.h` by `deno task generate`: do not edit it.
 *
 * @module
 */
import type {
  AntidiagonalScoreParams,
  AttentionBlockSparseParams,
  AttentionDecodeParams,
  AttentionDecodeTilesParams,
  AttentionDenseParams,
  AttentionRestParams,
  DecodeSelectParams,
  KeyCodesParams,
  KeyMeanParams,
  MergeStatesParams,
  RankScoreParams,
  SelectTilesParams,
  TileMassParams,
  TileMeansParams,
} from "./attention_params.ts";
import type {
  AddParams,
  ArgmaxParams,
  ConvertParams,
  CopyParams,
  EmbeddingParams,
  HeadNormParams,
  MatmulParams,
  MatmulRowsParams,
  QuantizeParams,
  QuantizeRowsParams,
  RmsNormParams,
  RopeParams,
  RopeTableParams,
  SwigluParams,
  TopKParams,
  WordSumParams,
} from "./params.ts";

/** What each op takes. */
export interface OpParams {
  readonly sx_copy: CopyParams;
  readonly sx_convert: ConvertParams;
  readonly sx_word_sum: WordSumParams;
  readonly sx_embedding: EmbeddingParams;
  readonly sx_rms_norm: RmsNormParams;
  readonly sx_quantize: QuantizeParams;
  readonly sx_quantize_rows: QuantizeRowsParams;
  readonly sx_matmul: MatmulParams;
  readonly sx_matmul_rows: MatmulRowsParams;
  readonly sx_rope_table: RopeTableParams;
  readonly sx_rope: RopeParams;
  readonly sx_head_norm: HeadNormParams;
  readonly sx_add: AddParams;
  readonly sx_swiglu: SwigluParams;
  readonly sx_argmax: ArgmaxParams;
  readonly sx_top_k: TopKParams;
  readonly sx_attention_dense: AttentionDenseParams;
  readonly sx_attention_block_sparse: AttentionBlockSparseParams;
  readonly sx_attention_decode: AttentionDecodeParams;
  readonly sx_decode_select: DecodeSelectParams;
  readonly sx_attention_decode_tiles: AttentionDecodeTilesParams;
  readonly sx_merge_states: MergeStatesParams;
  readonly sx_antidiagonal_score: AntidiagonalScoreParams;
  readonly sx_select_tiles: SelectTilesParams;
  readonly sx_tile_mass: TileMassParams;
  readonly sx_tile_means: TileMeansParams;
  readonly sx_key_codes: KeyCodesParams;
  readonly sx_attention_rest: AttentionRestParams;
  readonly sx_key_mean: KeyMeanParams;
  readonly sx_rank_score: RankScoreParams;
}

/** The bytes of each op's structure. */
export const PARAM_BYTES = {
  sx_copy: 48,
  sx_convert: 40,
  sx_word_sum: 24,
  sx_embedding: 64,
  sx_rms_norm: 72,
  sx_quantize: 48,
  sx_quantize_rows: 56,
  sx_matmul: 104,
  sx_matmul_rows: 104,
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
  sx_decode_select: 192,
  sx_attention_decode_tiles: 240,
  sx_merge_states: 72,
  sx_antidiagonal_score: 184,
  sx_select_tiles: 104,
  sx_tile_mass: 192,
  sx_tile_means: 160,
  sx_key_codes: 120,
  sx_attention_rest: 184,
  sx_key_mean: 64,
  sx_rank_score: 120,
} as const satisfies Readonly<Record<keyof OpParams, number>>;
