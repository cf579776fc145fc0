/**
 * The functions of `kernels/sx_kernels.h` as Deno binds them.
 *
 * Pointers cross as `u64` (a `bigint` costs nothing to pass), but the small out-parameters of the
 * functions that are no ops, which are `buffer`.
 *
 * This file is generated from `kernels/sx_kernels.h` by `deno task generate`: do not edit it.
 *
 * @module
 */

/** The version of the interface that this table describes: `SX_ABI_VERSION`. */
export const ABI_VERSION = 9;

/** The set that multiplies few rows, in an instruction set's number: times this. */
export const ISA_ROWS = 16;

/** Tokens along a side of a tile of block-sparse attention: `SX_TILE`. */
export const TILE_TOKENS = 128;

/** Rows of a panel of 8-bit weights: `SX_PANEL_ROWS`. */
export const PANEL_ROWS = 16;

/** What the depth of a panel is a multiple of: `SX_PANEL_DEPTH`. */
export const PANEL_DEPTH = 64;

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

/** The ops. Each parameter is commented with its C declaration. */
export const OP_SYMBOLS = {
  sx_copy: {
    parameters: [
      "u64", // sx_context* context
      "u64", // const sx_copy_params* params
    ],
    result: "i32",
  },
  sx_convert: {
    parameters: [
      "u64", // sx_context* context
      "u64", // const sx_convert_params* params
    ],
    result: "i32",
  },
  sx_word_sum: {
    parameters: [
      "u64", // sx_context* context
      "u64", // const sx_word_sum_params* params
    ],
    result: "i32",
  },
  sx_embedding: {
    parameters: [
      "u64", // sx_context* context
      "u64", // const sx_embedding_params* params
    ],
    result: "i32",
  },
  sx_rms_norm: {
    parameters: [
      "u64", // sx_context* context
      "u64", // const sx_rms_norm_params* params
    ],
    result: "i32",
  },
  sx_quantize: {
    parameters: [
      "u64", // sx_context* context
      "u64", // const sx_quantize_params* params
    ],
    result: "i32",
  },
  sx_quantize_rows: {
    parameters: [
      "u64", // sx_context* context
      "u64", // const sx_quantize_rows_params* params
    ],
    result: "i32",
  },
  sx_matmul: {
    parameters: [
      "u64", // sx_context* context
      "u64", // const sx_matmul_params* params
    ],
    result: "i32",
  },
  sx_matmul_rows: {
    parameters: [
      "u64", // sx_context* context
      "u64", // const sx_matmul_rows_params* params
    ],
    result: "i32",
  },
  sx_rope_table: {
    parameters: [
      "u64", // sx_context* context
      "u64", // const sx_rope_table_params* params
    ],
    result: "i32",
  },
  sx_rope: {
    parameters: [
      "u64", // sx_context* context
      "u64", // const sx_rope_params* params
    ],
    result: "i32",
  },
  sx_head_norm: {
    parameters: [
      "u64", // sx_context* context
      "u64", // const sx_head_norm_params* params
    ],
    result: "i32",
  },
  sx_add: {
    parameters: [
      "u64", // sx_context* context
      "u64", // const sx_add_params* params
    ],
    result: "i32",
  },
  sx_swiglu: {
    parameters: [
      "u64", // sx_context* context
      "u64", // const sx_swiglu_params* params
    ],
    result: "i32",
  },
  sx_argmax: {
    parameters: [
      "u64", // sx_context* context
      "u64", // const sx_argmax_params* params
    ],
    result: "i32",
  },
  sx_top_k: {
    parameters: [
      "u64", // sx_context* context
      "u64", // const sx_top_k_params* params
    ],
    result: "i32",
  },
  sx_attention_dense: {
    parameters: [
      "u64", // sx_context* context
      "u64", // const sx_attention_dense_params* params
    ],
    result: "i32",
  },
  sx_attention_block_sparse: {
    parameters: [
      "u64", // sx_context* context
      "u64", // const sx_attention_block_sparse_params* params
    ],
    result: "i32",
  },
  sx_attention_decode: {
    parameters: [
      "u64", // sx_context* context
      "u64", // const sx_attention_decode_params* params
    ],
    result: "i32",
  },
  sx_decode_select: {
    parameters: [
      "u64", // sx_context* context
      "u64", // const sx_decode_select_params* params
    ],
    result: "i32",
  },
  sx_attention_decode_tiles: {
    parameters: [
      "u64", // sx_context* context
      "u64", // const sx_attention_decode_tiles_params* params
    ],
    result: "i32",
  },
  sx_merge_states: {
    parameters: [
      "u64", // sx_context* context
      "u64", // const sx_merge_states_params* params
    ],
    result: "i32",
  },
  sx_antidiagonal_score: {
    parameters: [
      "u64", // sx_context* context
      "u64", // const sx_antidiagonal_score_params* params
    ],
    result: "i32",
  },
  sx_select_tiles: {
    parameters: [
      "u64", // sx_context* context
      "u64", // const sx_select_tiles_params* params
    ],
    result: "i32",
  },
  sx_tile_mass: {
    parameters: [
      "u64", // sx_context* context
      "u64", // const sx_tile_mass_params* params
    ],
    result: "i32",
  },
  sx_tile_means: {
    parameters: [
      "u64", // sx_context* context
      "u64", // const sx_tile_means_params* params
    ],
    result: "i32",
  },
  sx_key_codes: {
    parameters: [
      "u64", // sx_context* context
      "u64", // const sx_key_codes_params* params
    ],
    result: "i32",
  },
  sx_attention_rest: {
    parameters: [
      "u64", // sx_context* context
      "u64", // const sx_attention_rest_params* params
    ],
    result: "i32",
  },
  sx_key_mean: {
    parameters: [
      "u64", // sx_context* context
      "u64", // const sx_key_mean_params* params
    ],
    result: "i32",
  },
  sx_rank_score: {
    parameters: [
      "u64", // sx_context* context
      "u64", // const sx_rank_score_params* params
    ],
    result: "i32",
  },
} as const satisfies Deno.ForeignLibraryInterface;

/** The C name of an op. */
export type OpName = keyof typeof OP_SYMBOLS;
