/**
 * What the ops of `kernels/sx_attention.h` take, which says what each field means.
 *
 * Pointers are addresses, 0n being null; sizes are whole numbers; dtypes are those of `status.ts`.
 *
 * This file is generated from `kernels/sx_kernels.h` by `deno task generate`: do not edit it.
 *
 * @module
 */

/** `sx_key_values`. */
export interface KeyValues {
  readonly keys: bigint; // const void* keys
  readonly values: bigint; // const void* values
  readonly prefixKeys: bigint; // const void* prefix_keys
  readonly prefixValues: bigint; // const void* prefix_values
  readonly dtype: number; // sx_dtype dtype
  readonly keyTokens: number; // int64_t key_tokens
  readonly prefixTokens: number; // int64_t prefix_tokens
  readonly kvHeads: number; // int64_t kv_heads
  readonly headDim: number; // int64_t head_dim
  readonly tokenStride: number; // int64_t token_stride
  readonly headStride: number; // int64_t head_stride
  readonly prefixTokenStride: number; // int64_t prefix_token_stride
  readonly prefixHeadStride: number; // int64_t prefix_head_stride
  readonly prefixGap: number; // int64_t prefix_gap
}

/** `sx_kv_store_params`. */
export interface KvStoreParams {
  readonly keys: bigint; // void* keys
  readonly values: bigint; // void* values
  readonly kvDtype: number; // sx_dtype kv_dtype
  readonly keyScales: bigint; // float* key_scales
  readonly valueScales: bigint; // float* value_scales
  readonly inKeys: bigint; // const void* in_keys
  readonly inValues: bigint; // const void* in_values
  readonly inDtype: number; // sx_dtype in_dtype
  readonly rows: bigint; // const int32_t* rows
  readonly tokens: number; // int64_t tokens
  readonly kvHeads: number; // int64_t kv_heads
  readonly headDim: number; // int64_t head_dim
  readonly tokenStride: number; // int64_t token_stride
  readonly headStride: number; // int64_t head_stride
  readonly scaleHeadStride: number; // int64_t scale_head_stride
  readonly inTokenStride: number; // int64_t in_token_stride
  readonly inHeadStride: number; // int64_t in_head_stride
}

/** `sx_kv_expand_params`. */
export interface KvExpandParams {
  readonly outKeys: bigint; // void* out_keys
  readonly outValues: bigint; // void* out_values
  readonly outDtype: number; // sx_dtype out_dtype
  readonly keys: bigint; // const void* keys
  readonly values: bigint; // const void* values
  readonly kvDtype: number; // sx_dtype kv_dtype
  readonly keyScales: bigint; // const float* key_scales
  readonly valueScales: bigint; // const float* value_scales
  readonly tokens: number; // int64_t tokens
  readonly kvHeads: number; // int64_t kv_heads
  readonly headDim: number; // int64_t head_dim
  readonly tokenStride: number; // int64_t token_stride
  readonly headStride: number; // int64_t head_stride
  readonly scaleHeadStride: number; // int64_t scale_head_stride
  readonly outTokenStride: number; // int64_t out_token_stride
  readonly outHeadStride: number; // int64_t out_head_stride
}

/** `sx_attention_dense_params`. */
export interface AttentionDenseParams {
  readonly out: bigint; // void* out
  readonly outDtype: number; // sx_dtype out_dtype
  readonly lseLog2: bigint; // float* lse_log2
  readonly q: bigint; // const void* q
  readonly qDtype: number; // sx_dtype q_dtype
  readonly kv: KeyValues; // sx_key_values kv
  readonly qTokens: number; // int64_t q_tokens
  readonly qOffset: number; // int64_t q_offset
  readonly qHeads: number; // int64_t q_heads
  readonly window: number; // int64_t window
  readonly scale: number; // float scale
}

/** `sx_attention_block_sparse_params`. */
export interface AttentionBlockSparseParams {
  readonly attention: AttentionDenseParams; // sx_attention_dense_params attention
  readonly counts: bigint; // const int32_t* counts
  readonly indices: bigint; // const int32_t* indices
  readonly indexStride: number; // int64_t index_stride
}

/** `sx_attention_decode_params`. */
export interface AttentionDecodeParams {
  readonly out: bigint; // void* out
  readonly outDtype: number; // sx_dtype out_dtype
  readonly lseLog2: bigint; // float* lse_log2
  readonly q: bigint; // const void* q
  readonly qDtype: number; // sx_dtype q_dtype
  readonly keys: bigint; // const void* keys
  readonly values: bigint; // const void* values
  readonly kvDtype: number; // sx_dtype kv_dtype
  readonly keyScales: bigint; // const float* key_scales
  readonly valueScales: bigint; // const float* value_scales
  readonly firstRow: bigint; // const int32_t* first_row
  readonly keyCount: bigint; // const int32_t* key_count
  readonly causal: number; // int32_t causal
  readonly window: number; // int64_t window
  readonly sequences: number; // int64_t sequences
  readonly qTokens: number; // int64_t q_tokens
  readonly sequenceCapacity: number; // int64_t sequence_capacity
  readonly keyCapacity: number; // int64_t key_capacity
  readonly qHeads: number; // int64_t q_heads
  readonly kvHeads: number; // int64_t kv_heads
  readonly headDim: number; // int64_t head_dim
  readonly tokenStride: number; // int64_t token_stride
  readonly headStride: number; // int64_t head_stride
  readonly scaleHeadStride: number; // int64_t scale_head_stride
  readonly scale: number; // float scale
}

/** `sx_decode_select_params`. */
export interface DecodeSelectParams {
  readonly counts: bigint; // int32_t* counts
  readonly indices: bigint; // int32_t* indices
  readonly mass: bigint; // float* mass
  readonly q: bigint; // const void* q
  readonly qDtype: number; // sx_dtype q_dtype
  readonly meanKeys: bigint; // const void* mean_keys
  readonly spread: bigint; // const void* spread
  readonly codes: bigint; // const int32_t* codes
  readonly kvDtype: number; // sx_dtype kv_dtype
  readonly firstRow: bigint; // const int32_t* first_row
  readonly pooledTiles: bigint; // const int32_t* pooled_tiles
  readonly byThreshold: number; // int32_t by_threshold
  readonly sequences: number; // int64_t sequences
  readonly qTokens: number; // int64_t q_tokens
  readonly meanCapacity: number; // int64_t mean_capacity
  readonly indexStride: number; // int64_t index_stride
  readonly unitTiles: number; // int64_t unit_tiles
  readonly firstTiles: number; // int64_t first_tiles
  readonly qHeads: number; // int64_t q_heads
  readonly kvHeads: number; // int64_t kv_heads
  readonly headDim: number; // int64_t head_dim
  readonly meanHeadStride: number; // int64_t mean_head_stride
  readonly codeHeadStride: number; // int64_t code_head_stride
  readonly scale: number; // float scale
  readonly keep: number; // float keep
}

/** `sx_attention_decode_tiles_params`. */
export interface AttentionDecodeTilesParams {
  readonly attention: AttentionDecodeParams; // sx_attention_decode_params attention
  readonly meanKeys: bigint; // const void* mean_keys
  readonly meanValues: bigint; // const void* mean_values
  readonly meanDtype: number; // sx_dtype mean_dtype
  readonly pooledTiles: bigint; // const int32_t* pooled_tiles
  readonly counts: bigint; // const int32_t* counts
  readonly indices: bigint; // const int32_t* indices
  readonly indexStride: number; // int64_t index_stride
  readonly meanCapacity: number; // int64_t mean_capacity
  readonly meanHeadStride: number; // int64_t mean_head_stride
}

/** `sx_merge_states_params`. */
export interface MergeStatesParams {
  readonly out: bigint; // void* out
  readonly outDtype: number; // sx_dtype out_dtype
  readonly parts: bigint; // const float* parts
  readonly byScore: number; // int32_t by_score
  readonly partCount: number; // int64_t part_count
  readonly partStride: number; // int64_t part_stride
  readonly tokens: number; // int64_t tokens
  readonly heads: number; // int64_t heads
  readonly headDim: number; // int64_t head_dim
}

/** `sx_antidiagonal_score_params`. */
export interface AntidiagonalScoreParams {
  readonly mass: bigint; // float* mass
  readonly q: bigint; // const void* q
  readonly qDtype: number; // sx_dtype q_dtype
  readonly kv: KeyValues; // sx_key_values kv
  readonly qTokens: number; // int64_t q_tokens
  readonly qOffset: number; // int64_t q_offset
  readonly qHeads: number; // int64_t q_heads
  readonly window: number; // int64_t window
  readonly stride: number; // int64_t stride
  readonly scale: number; // float scale
}

/** `sx_select_tiles_params`. */
export interface SelectTilesParams {
  readonly counts: bigint; // int32_t* counts
  readonly indices: bigint; // int32_t* indices
  readonly mass: bigint; // const float* mass
  readonly heads: number; // int64_t heads
  readonly qTiles: number; // int64_t q_tiles
  readonly keyTiles: number; // int64_t key_tiles
  readonly firstTile: number; // int64_t first_tile
  readonly indexStride: number; // int64_t index_stride
  readonly window: number; // int64_t window
  readonly prefixTokens: number; // int64_t prefix_tokens
  readonly prefixGap: number; // int64_t prefix_gap
  readonly headThresholds: bigint; // const float* head_thresholds
  readonly threshold: number; // float threshold
  readonly byShare: number; // int32_t by_share
}

/** `sx_tile_mass_params`. */
export interface TileMassParams {
  readonly tiles: AntidiagonalScoreParams; // sx_antidiagonal_score_params tiles
  readonly lseLog2: bigint; // const float* lse_log2
}

/** `sx_tile_means_params`. */
export interface TileMeansParams {
  readonly meanKeys: bigint; // void* mean_keys
  readonly meanValues: bigint; // void* mean_values
  readonly meanDtype: number; // sx_dtype mean_dtype
  readonly kv: KeyValues; // sx_key_values kv
  readonly firstTile: number; // int64_t first_tile
  readonly tileCount: number; // int64_t tile_count
  readonly meanHeadStride: number; // int64_t mean_head_stride
}

/** `sx_key_codes_params`. */
export interface KeyCodesParams {
  readonly codes: bigint; // int32_t* codes
  readonly spread: bigint; // void* spread
  readonly meanKeys: bigint; // const void* mean_keys
  readonly meanDtype: number; // sx_dtype mean_dtype
  readonly keys: bigint; // const void* keys
  readonly kvDtype: number; // sx_dtype kv_dtype
  readonly keyTokens: number; // int64_t key_tokens
  readonly kvHeads: number; // int64_t kv_heads
  readonly headDim: number; // int64_t head_dim
  readonly tokenStride: number; // int64_t token_stride
  readonly headStride: number; // int64_t head_stride
  readonly firstTile: number; // int64_t first_tile
  readonly tileCount: number; // int64_t tile_count
  readonly meanHeadStride: number; // int64_t mean_head_stride
  readonly codeHeadStride: number; // int64_t code_head_stride
}

/** `sx_attention_rest_params`. */
export interface AttentionRestParams {
  readonly out: bigint; // void* out
  readonly outDtype: number; // sx_dtype out_dtype
  readonly lseLog2: bigint; // float* lse_log2
  readonly partial: bigint; // const float* partial
  readonly partialLseLog2: bigint; // const float* partial_lse_log2
  readonly q: bigint; // const void* q
  readonly qDtype: number; // sx_dtype q_dtype
  readonly meanKeys: bigint; // const void* mean_keys
  readonly meanValues: bigint; // const void* mean_values
  readonly meanDtype: number; // sx_dtype mean_dtype
  readonly counts: bigint; // const int32_t* counts
  readonly indices: bigint; // const int32_t* indices
  readonly indexStride: number; // int64_t index_stride
  readonly meanHeadStride: number; // int64_t mean_head_stride
  readonly qTokens: number; // int64_t q_tokens
  readonly qOffset: number; // int64_t q_offset
  readonly qHeads: number; // int64_t q_heads
  readonly kvHeads: number; // int64_t kv_heads
  readonly headDim: number; // int64_t head_dim
  readonly window: number; // int64_t window
  readonly prefixTokens: number; // int64_t prefix_tokens
  readonly prefixGap: number; // int64_t prefix_gap
  readonly scale: number; // float scale
}

/** `sx_key_mean_params`. */
export interface KeyMeanParams {
  readonly out: bigint; // float* out
  readonly keys: bigint; // const void* keys
  readonly kvDtype: number; // sx_dtype kv_dtype
  readonly tokens: number; // int64_t tokens
  readonly kvHeads: number; // int64_t kv_heads
  readonly headDim: number; // int64_t head_dim
  readonly tokenStride: number; // int64_t token_stride
  readonly headStride: number; // int64_t head_stride
}

/** `sx_rank_score_params`. */
export interface RankScoreParams {
  readonly score: bigint; // float* score
  readonly q: bigint; // const void* q
  readonly qDtype: number; // sx_dtype q_dtype
  readonly anchorMean: bigint; // const float* anchor_mean
  readonly keys: bigint; // const void* keys
  readonly kvDtype: number; // sx_dtype kv_dtype
  readonly qTokens: number; // int64_t q_tokens
  readonly keyTokens: number; // int64_t key_tokens
  readonly qHeads: number; // int64_t q_heads
  readonly kvHeads: number; // int64_t kv_heads
  readonly headDim: number; // int64_t head_dim
  readonly tokenStride: number; // int64_t token_stride
  readonly headStride: number; // int64_t head_stride
  readonly stride: number; // int64_t stride
  readonly scale: number; // float scale
}
