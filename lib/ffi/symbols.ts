/**
 * The functions of `kernels/sx_kernels.h` as Deno binds them.
 *
 * Pointers cross as `u64` (a `bigint` costs nothing to pass), but the small out-parameters of the
 * functions that are no ops, which are `buffer`. `tests/header_test.ts` compares this table with
 * the header: names, order, widths.
 *
 * @module
 */

/** The version of the interface that this table describes: `SX_ABI_VERSION`. */
export const ABI_VERSION = 1;

/** Tokens per block of the block-sparse attention: `SX_BLOCK`. */
export const SX_BLOCK = 128;

/** Library, context and memory. Each parameter is commented with its C declaration. */
export const SETUP_SYMBOLS = {
  sx_abi_version: { parameters: [], result: "u32" },
  sx_describe: {
    parameters: [
      "buffer", // char* out
      "u64", // uint64_t size
    ],
    result: "i32",
  },
  sx_context_create: {
    parameters: [
      "i32", // int32_t device
      "i32", // int32_t threads
      "i32", // int32_t isa
      "u64", // uint64_t stream
      "buffer", // uint64_t* out
    ],
    result: "i32",
  },
  sx_context_destroy: {
    parameters: [
      "u64", // sx_context* context
    ],
    result: "i32",
  },
  sx_error_text: {
    parameters: [
      "u64", // sx_context* context
      "buffer", // char* out
      "u64", // uint64_t size
    ],
    result: "i32",
  },
  sx_alloc: {
    parameters: [
      "u64", // sx_context* context
      "u64", // uint64_t bytes
      "buffer", // uint64_t* out
    ],
    result: "i32",
  },
  sx_free: {
    parameters: [
      "u64", // sx_context* context
      "u64", // void* memory
    ],
    result: "i32",
  },
  sx_live_allocations: {
    parameters: [
      "u64", // sx_context* context
    ],
    result: "i64",
  },
} as const satisfies Deno.ForeignLibraryInterface;

/** The ops: each takes the context first. Each parameter is commented with its C declaration. */
export const OP_SYMBOLS = {
  sx_copy: {
    parameters: [
      "u64", // sx_context* context
      "u64", // void* out
      "u64", // const void* in
      "u64", // uint64_t bytes
    ],
    result: "i32",
  },
  sx_convert: {
    parameters: [
      "u64", // sx_context* context
      "u64", // void* out
      "u64", // const void* in
      "i32", // sx_dtype out_dtype
      "i32", // sx_dtype in_dtype
      "i64", // int64_t count
    ],
    result: "i32",
  },
  sx_embedding: {
    parameters: [
      "u64", // sx_context* context
      "u64", // float* out
      "u64", // const void* table
      "u64", // const int32_t* ids
      "i32", // sx_dtype table_dtype
      "i64", // int64_t tokens
      "i64", // int64_t dim
      "i64", // int64_t vocab
    ],
    result: "i32",
  },
  sx_rms_norm: {
    parameters: [
      "u64", // sx_context* context
      "u64", // void* out
      "u64", // float* residual
      "u64", // const float* delta
      "u64", // const void* weight
      "i32", // sx_dtype out_dtype
      "i32", // sx_dtype weight_dtype
      "i64", // int64_t rows
      "i64", // int64_t dim
      "f32", // float eps
    ],
    result: "i32",
  },
  sx_matmul: {
    parameters: [
      "u64", // sx_context* context
      "u64", // float* out
      "u64", // const void* x
      "u64", // const void* weight
      "i32", // sx_dtype x_dtype
      "i32", // sx_dtype weight_dtype
      "i32", // int32_t accumulate
      "i64", // int64_t m
      "i64", // int64_t n
      "i64", // int64_t k
      "i64", // int64_t x_stride
      "i64", // int64_t out_stride
    ],
    result: "i32",
  },
  sx_rope_table: {
    parameters: [
      "u64", // sx_context* context
      "u64", // float* table
      "u64", // const float* inverse_frequency
      "u64", // const int32_t* positions
      "i64", // int64_t tokens
      "i64", // int64_t head_dim
    ],
    result: "i32",
  },
  sx_rope: {
    parameters: [
      "u64", // sx_context* context
      "u64", // void* q_out
      "u64", // void* keys
      "u64", // void* values
      "u64", // const float* qkv
      "u64", // const float* table
      "u64", // const int32_t* rows
      "i32", // sx_dtype q_dtype
      "i32", // sx_dtype cache_dtype
      "i64", // int64_t tokens
      "i64", // int64_t q_heads
      "i64", // int64_t kv_heads
      "i64", // int64_t head_dim
      "i64", // int64_t token_stride
      "i64", // int64_t head_stride
    ],
    result: "i32",
  },
  sx_swiglu: {
    parameters: [
      "u64", // sx_context* context
      "u64", // void* out
      "u64", // const float* gate_up
      "i32", // sx_dtype out_dtype
      "i64", // int64_t rows
      "i64", // int64_t dim
    ],
    result: "i32",
  },
  sx_attention_dense: {
    parameters: [
      "u64", // sx_context* context
      "u64", // void* out
      "u64", // float* lse_log2
      "u64", // const void* q
      "u64", // const void* keys
      "u64", // const void* values
      "u64", // const void* prefix_keys
      "u64", // const void* prefix_values
      "i32", // sx_dtype out_dtype
      "i32", // sx_dtype q_dtype
      "i32", // sx_dtype kv_dtype
      "i64", // int64_t q_tokens
      "i64", // int64_t q_offset
      "i64", // int64_t key_tokens
      "i64", // int64_t prefix_tokens
      "i64", // int64_t q_heads
      "i64", // int64_t kv_heads
      "i64", // int64_t head_dim
      "i64", // int64_t token_stride
      "i64", // int64_t head_stride
      "i64", // int64_t prefix_token_stride
      "i64", // int64_t prefix_head_stride
      "f32", // float scale
    ],
    result: "i32",
  },
  sx_attention_block_sparse: {
    parameters: [
      "u64", // sx_context* context
      "u64", // void* out
      "u64", // float* lse_log2
      "u64", // const void* q
      "u64", // const void* keys
      "u64", // const void* values
      "u64", // const void* prefix_keys
      "u64", // const void* prefix_values
      "u64", // const int32_t* counts
      "u64", // const int32_t* indices
      "i32", // sx_dtype out_dtype
      "i32", // sx_dtype q_dtype
      "i32", // sx_dtype kv_dtype
      "i64", // int64_t q_tokens
      "i64", // int64_t q_offset
      "i64", // int64_t key_tokens
      "i64", // int64_t prefix_tokens
      "i64", // int64_t q_heads
      "i64", // int64_t kv_heads
      "i64", // int64_t head_dim
      "i64", // int64_t token_stride
      "i64", // int64_t head_stride
      "i64", // int64_t prefix_token_stride
      "i64", // int64_t prefix_head_stride
      "i64", // int64_t index_stride
      "f32", // float scale
    ],
    result: "i32",
  },
  sx_attention_decode: {
    parameters: [
      "u64", // sx_context* context
      "u64", // void* out
      "u64", // float* lse_log2
      "u64", // const void* q
      "u64", // const void* keys
      "u64", // const void* values
      "u64", // const int32_t* key_count
      "i32", // sx_dtype out_dtype
      "i32", // sx_dtype q_dtype
      "i32", // sx_dtype kv_dtype
      "i32", // int32_t causal
      "i64", // int64_t q_tokens
      "i64", // int64_t key_capacity
      "i64", // int64_t q_heads
      "i64", // int64_t kv_heads
      "i64", // int64_t head_dim
      "i64", // int64_t token_stride
      "i64", // int64_t head_stride
      "f32", // float scale
    ],
    result: "i32",
  },
  sx_merge_states: {
    parameters: [
      "u64", // sx_context* context
      "u64", // void* out
      "u64", // const float* parts
      "i32", // sx_dtype out_dtype
      "i32", // int32_t by_score
      "i64", // int64_t part_count
      "i64", // int64_t part_stride
      "i64", // int64_t tokens
      "i64", // int64_t heads
      "i64", // int64_t head_dim
    ],
    result: "i32",
  },
  sx_antidiagonal_score: {
    parameters: [
      "u64", // sx_context* context
      "u64", // float* mass
      "u64", // const void* q
      "u64", // const void* keys
      "u64", // const void* prefix_keys
      "i32", // sx_dtype q_dtype
      "i32", // sx_dtype kv_dtype
      "i64", // int64_t q_tokens
      "i64", // int64_t q_offset
      "i64", // int64_t key_tokens
      "i64", // int64_t prefix_tokens
      "i64", // int64_t q_heads
      "i64", // int64_t kv_heads
      "i64", // int64_t head_dim
      "i64", // int64_t token_stride
      "i64", // int64_t head_stride
      "i64", // int64_t prefix_token_stride
      "i64", // int64_t prefix_head_stride
      "i64", // int64_t stride
      "f32", // float scale
    ],
    result: "i32",
  },
  sx_select_blocks: {
    parameters: [
      "u64", // sx_context* context
      "u64", // int32_t* counts
      "u64", // int32_t* indices
      "u64", // const float* mass
      "i64", // int64_t heads
      "i64", // int64_t q_blocks
      "i64", // int64_t key_blocks
      "i64", // int64_t first_block
      "i64", // int64_t index_stride
      "f32", // float threshold
    ],
    result: "i32",
  },
  sx_key_mean: {
    parameters: [
      "u64", // sx_context* context
      "u64", // float* out
      "u64", // const void* keys
      "i32", // sx_dtype kv_dtype
      "i64", // int64_t tokens
      "i64", // int64_t kv_heads
      "i64", // int64_t head_dim
      "i64", // int64_t token_stride
      "i64", // int64_t head_stride
    ],
    result: "i32",
  },
  sx_host_score: {
    parameters: [
      "u64", // sx_context* context
      "u64", // float* score
      "u64", // const void* q
      "u64", // const float* anchor_mean
      "u64", // const void* keys
      "i32", // sx_dtype q_dtype
      "i32", // sx_dtype kv_dtype
      "i64", // int64_t q_tokens
      "i64", // int64_t key_tokens
      "i64", // int64_t q_heads
      "i64", // int64_t kv_heads
      "i64", // int64_t head_dim
      "i64", // int64_t token_stride
      "i64", // int64_t head_stride
      "i64", // int64_t stride
      "f32", // float scale
    ],
    result: "i32",
  },
  sx_argmax: {
    parameters: [
      "u64", // sx_context* context
      "u64", // int32_t* out
      "u64", // const float* logits
      "i64", // int64_t rows
      "i64", // int64_t count
    ],
    result: "i32",
  },
  sx_top_k: {
    parameters: [
      "u64", // sx_context* context
      "u64", // int32_t* out_ids
      "u64", // float* out_values
      "u64", // const float* logits
      "i64", // int64_t count
      "i64", // int64_t k
    ],
    result: "i32",
  },
} as const satisfies Deno.ForeignLibraryInterface;

/** The C name of an op. */
export type OpName = keyof typeof OP_SYMBOLS;
