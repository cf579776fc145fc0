/**
 * What the ops of `kernels/sx_kernels.h` take, which says what each field means.
 *
 * Pointers are addresses, 0n being null; sizes are whole numbers; dtypes are those of `status.ts`.
 *
 * This file is generated from `kernels/sx_kernels.h` by `deno task generate`: do not edit it.
 *
 * @module
 */

/** `sx_copy_params`. */
export interface CopyParams {
  readonly out: bigint; // void* out
  readonly in: bigint; // const void* in
  readonly bytes: number; // int64_t bytes
  readonly rows: number; // int64_t rows
  readonly outStride: number; // int64_t out_stride
  readonly inStride: number; // int64_t in_stride
}

/** `sx_convert_params`. */
export interface ConvertParams {
  readonly out: bigint; // void* out
  readonly outDtype: number; // sx_dtype out_dtype
  readonly in: bigint; // const void* in
  readonly inDtype: number; // sx_dtype in_dtype
  readonly count: number; // int64_t count
}

/** `sx_word_sum_params`. */
export interface WordSumParams {
  readonly out: bigint; // int32_t* out
  readonly in: bigint; // const void* in
  readonly bytes: number; // int64_t bytes
}

/** `sx_embedding_params`. */
export interface EmbeddingParams {
  readonly out: bigint; // float* out
  readonly table: bigint; // const void* table
  readonly tableDtype: number; // sx_dtype table_dtype
  readonly ids: bigint; // const int32_t* ids
  readonly tokens: number; // int64_t tokens
  readonly dim: number; // int64_t dim
  readonly vocab: number; // int64_t vocab
  readonly scale: number; // float scale
}

/** `sx_rms_norm_params`. */
export interface RmsNormParams {
  readonly out: bigint; // void* out
  readonly outDtype: number; // sx_dtype out_dtype
  readonly residual: bigint; // float* residual
  readonly delta: bigint; // const float* delta
  readonly weight: bigint; // const void* weight
  readonly weightDtype: number; // sx_dtype weight_dtype
  readonly rows: number; // int64_t rows
  readonly dim: number; // int64_t dim
  readonly eps: number; // float eps
}

/** `sx_quantize_params`. */
export interface QuantizeParams {
  readonly out: bigint; // void* out
  readonly scales: bigint; // float* scales
  readonly in: bigint; // const void* in
  readonly inDtype: number; // sx_dtype in_dtype
  readonly n: number; // int64_t n
  readonly k: number; // int64_t k
}

/** `sx_quantize_rows_params`. */
export interface QuantizeRowsParams {
  readonly out: bigint; // void* out
  readonly scales: bigint; // float* scales
  readonly in: bigint; // const void* in
  readonly inDtype: number; // sx_dtype in_dtype
  readonly rows: number; // int64_t rows
  readonly dim: number; // int64_t dim
  readonly inStride: number; // int64_t in_stride
}

/** `sx_matmul_params`. */
export interface MatmulParams {
  readonly out: bigint; // float* out
  readonly x: bigint; // const void* x
  readonly xDtype: number; // sx_dtype x_dtype
  readonly xScales: bigint; // const float* x_scales
  readonly weight: bigint; // const void* weight
  readonly weightDtype: number; // sx_dtype weight_dtype
  readonly weightScales: bigint; // const float* weight_scales
  readonly accumulate: number; // int32_t accumulate
  readonly m: number; // int64_t m
  readonly n: number; // int64_t n
  readonly k: number; // int64_t k
  readonly xStride: number; // int64_t x_stride
  readonly outStride: number; // int64_t out_stride
}

/** `sx_matmul_rows_params`. */
export interface MatmulRowsParams {
  readonly product: MatmulParams; // sx_matmul_params product
}

/** `sx_rope_table_params`. */
export interface RopeTableParams {
  readonly table: bigint; // float* table
  readonly inverseFrequency: bigint; // const float* inverse_frequency
  readonly positions: bigint; // const int32_t* positions
  readonly tokens: number; // int64_t tokens
  readonly rotaryDim: number; // int64_t rotary_dim
  readonly frequencyStride: number; // int64_t frequency_stride
  readonly scale: number; // float scale
}

/** `sx_rope_params`. */
export interface RopeParams {
  readonly qOut: bigint; // void* q_out
  readonly qDtype: number; // sx_dtype q_dtype
  readonly keys: bigint; // void* keys
  readonly values: bigint; // void* values
  readonly cacheDtype: number; // sx_dtype cache_dtype
  readonly qkv: bigint; // const float* qkv
  readonly table: bigint; // const float* table
  readonly rows: bigint; // const int32_t* rows
  readonly tokens: number; // int64_t tokens
  readonly qHeads: number; // int64_t q_heads
  readonly kvHeads: number; // int64_t kv_heads
  readonly headDim: number; // int64_t head_dim
  readonly tokenStride: number; // int64_t token_stride
  readonly headStride: number; // int64_t head_stride
  readonly rotaryDim: number; // int64_t rotary_dim
  readonly outDim: number; // int64_t out_dim
}

/** `sx_head_norm_params`. */
export interface HeadNormParams {
  readonly x: bigint; // float* x
  readonly weight: bigint; // const void* weight
  readonly weightDtype: number; // sx_dtype weight_dtype
  readonly rows: number; // int64_t rows
  readonly heads: number; // int64_t heads
  readonly dim: number; // int64_t dim
  readonly rowStride: number; // int64_t row_stride
  readonly eps: number; // float eps
}

/** `sx_add_params`. */
export interface AddParams {
  readonly out: bigint; // float* out
  readonly in: bigint; // const float* in
  readonly rows: number; // int64_t rows
  readonly dim: number; // int64_t dim
  readonly outStride: number; // int64_t out_stride
  readonly inStride: number; // int64_t in_stride
}

/** `sx_swiglu_params`. */
export interface SwigluParams {
  readonly out: bigint; // void* out
  readonly outDtype: number; // sx_dtype out_dtype
  readonly gateUp: bigint; // const float* gate_up
  readonly rows: number; // int64_t rows
  readonly dim: number; // int64_t dim
}

/** `sx_argmax_params`. */
export interface ArgmaxParams {
  readonly out: bigint; // int32_t* out
  readonly logits: bigint; // const float* logits
  readonly rows: number; // int64_t rows
  readonly count: number; // int64_t count
}

/** `sx_top_k_params`. */
export interface TopKParams {
  readonly outIds: bigint; // int32_t* out_ids
  readonly outValues: bigint; // float* out_values
  readonly logits: bigint; // const float* logits
  readonly count: number; // int64_t count
  readonly k: number; // int64_t k
}
