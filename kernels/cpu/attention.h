/*
 * Addresses of keys and values in their two segments (see sx_kernels.h), for the attention and
 * selection kernels of every instruction set and for their scalar twins.
 */
#ifndef SX_CPU_ATTENTION_H
#define SX_CPU_ATTENTION_H

#include "../abi/window.h"
#include "ops.h"

namespace sx {

/* N: prefix and own keys together. */
SX_INLINE int64_t all_keys(const sx_key_values& kv) { return kv.prefix_tokens + kv.key_tokens; }

/* How many of the N keys query `token` of this call sees. */
SX_INLINE int64_t visible_keys(int64_t q_offset, int64_t token, int64_t keys) {
  return max64(0, min64(q_offset + token + 1, keys));
}

/* The first of the N keys that query `token` of this call sees, and those before its end. */
SX_INLINE int64_t first_visible(const AttentionArgs& args, int64_t token) {
  return window_of(args.kv, args.window).first_key(args.q_offset + token);
}

/* Element offset of row j, counted over both segments, in j's segment. */
SX_INLINE int64_t row_offset(const sx_key_values& kv, int64_t head, int64_t j) {
  return j < kv.prefix_tokens ? head * kv.prefix_head_stride + j * kv.prefix_token_stride
                              : head * kv.head_stride + (j - kv.prefix_tokens) * kv.token_stride;
}

SX_INLINE const char* key_address(const sx_key_values& kv, int64_t head, int64_t j) {
  const void* base = j < kv.prefix_tokens ? kv.prefix_keys : kv.keys;
  return static_cast<const char*>(base) + row_offset(kv, head, j) * dtype_bytes(kv.dtype);
}

SX_INLINE const char* value_address(const sx_key_values& kv, int64_t head, int64_t j) {
  const void* base = j < kv.prefix_tokens ? kv.prefix_values : kv.values;
  return static_cast<const char*>(base) + row_offset(kv, head, j) * dtype_bytes(kv.dtype);
}

/* Bytes from one row to the next in the segment of row j. */
SX_INLINE int64_t row_bytes(const sx_key_values& kv, int64_t j) {
  const int64_t stride = j < kv.prefix_tokens ? kv.prefix_token_stride : kv.token_stride;
  return stride * dtype_bytes(kv.dtype);
}

/* Decode attention of one sequence as dense attention: its key_count keys, no prefix, no window. */
SX_INLINE AttentionArgs dense_arguments(const sx_attention_decode_params& args, int64_t sequence) {
  const int64_t rows = sequence * args.q_tokens * args.q_heads, at = rows * args.head_dim;
  const int64_t first_row = args.first_row == nullptr ? 0 : args.first_row[sequence];
  const int64_t key_count = args.key_count[sequence];
  const int64_t skipped = first_row * args.token_stride * dtype_bytes(args.kv_dtype);
  AttentionArgs dense = {};
  dense.out = static_cast<char*>(args.out) + at * dtype_bytes(args.out_dtype);
  dense.lse_log2 = args.lse_log2 == nullptr ? nullptr : args.lse_log2 + rows;
  dense.q = static_cast<const float*>(args.q) + at;
  dense.kv.keys = static_cast<const char*>(args.keys) + skipped;
  dense.kv.values = static_cast<const char*>(args.values) + skipped;
  dense.kv.dtype = args.kv_dtype;
  dense.kv.key_tokens = key_count;
  dense.kv.kv_heads = args.kv_heads;
  dense.kv.head_dim = args.head_dim;
  dense.kv.token_stride = args.token_stride;
  dense.kv.head_stride = args.head_stride;
  dense.out_dtype = args.out_dtype;
  dense.q_tokens = args.q_tokens;
  dense.q_offset = args.causal ? key_count - args.q_tokens : key_count;
  dense.q_heads = args.q_heads;
  dense.scale = args.scale;
  return dense;
}

/* The first key that a query sees whose last one is number end - 1. */
SX_INLINE int64_t first_visible(const sx_attention_decode_params& args, int64_t end) {
  return args.window == 0 ? 0 : max64(0, end - args.window);
}

}  // namespace sx

#endif
