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

/* Decode attention as dense attention: key_count keys, no prefix. */
SX_INLINE AttentionArgs dense_arguments(const DecodeArgs& args) {
  AttentionArgs dense = {};
  dense.out = args.out;
  dense.lse_log2 = args.lse_log2;
  dense.q = args.q;
  dense.kv.keys = args.keys;
  dense.kv.values = args.values;
  dense.kv.dtype = args.kv_dtype;
  dense.kv.key_tokens = *args.key_count;
  dense.kv.kv_heads = args.kv_heads;
  dense.kv.head_dim = args.head_dim;
  dense.kv.token_stride = args.token_stride;
  dense.kv.head_stride = args.head_stride;
  dense.out_dtype = args.out_dtype;
  dense.q_tokens = args.q_tokens;
  dense.q_offset = args.causal ? *args.key_count - args.q_tokens : *args.key_count;
  dense.q_heads = args.q_heads;
  dense.scale = args.scale;
  return dense;
}

}  // namespace sx

#endif
