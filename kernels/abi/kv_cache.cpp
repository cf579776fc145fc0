/*
 * The exported functions of a cache of 8 bits: they check every argument that can be checked and call
 * the backend's op.
 */
#include "attention_checks.h"

using namespace sx;

namespace {

/* What both ops have in common: the cache, and the strides of the floats. */
template <class Params>
sx_status check_cache8(const Call& call, const Params& p) {
  SX_CHECK(call, has_scales(p.kv_dtype), "kv_dtype must be I8 or F8E4M3", p.kv_dtype);
  if (!kHasCache8) return lacks(call, kCacheRule, p.kv_dtype);
  SX_PASS(check_heads(call, p.kv_heads, p.kv_heads < 1 ? 1 : p.kv_heads, p.head_dim));
  SX_CHECK_SIZE(call, p, tokens);
  SX_CHECK_SIZE(call, p, token_stride);
  SX_CHECK_SIZE(call, p, head_stride);
  SX_CHECK_SIZE(call, p, scale_head_stride);
  return SX_OK;
}

}  // namespace

sx_status sx_kv_store(sx_context* context, const sx_kv_store_params* params) {
  SX_BEGIN(context, params, "store keys and values");
  SX_CHECK_POINTER(call, p, keys);
  SX_CHECK_POINTER(call, p, values);
  SX_CHECK_POINTER(call, p, key_scales);
  SX_CHECK_POINTER(call, p, value_scales);
  SX_CHECK_POINTER(call, p, in_keys);
  SX_CHECK_POINTER(call, p, in_values);
  SX_CHECK_POINTER(call, p, rows);
  SX_CHECK_FLOAT(call, p, in_dtype);
  SX_PASS(check_cache8(call, p));
  SX_CHECK_SIZE(call, p, in_token_stride);
  SX_CHECK_SIZE(call, p, in_head_stride);
  for (int64_t t = 0; kSeesMemory && t < p.tokens; t++) {
    SX_CHECK(call, p.rows[t] >= -1, "rows must be at least -1", p.rows[t]);
  }
  return SX_CALL(*context, kv_store, p);
}

sx_status sx_kv_expand(sx_context* context, const sx_kv_expand_params* params) {
  SX_BEGIN(context, params, "expand keys and values");
  SX_CHECK_FLOAT(call, p, out_dtype);
  SX_PASS(check_cache8(call, p));
  SX_CHECK_SIZE(call, p, out_token_stride);
  SX_CHECK_SIZE(call, p, out_head_stride);
  if (p.tokens == 0) return SX_OK;
  SX_CHECK_POINTER(call, p, out_keys);
  SX_CHECK_POINTER(call, p, keys);
  SX_CHECK_POINTER(call, p, key_scales);
  const bool has_both = p.values != nullptr && p.value_scales != nullptr;
  const bool has_none = p.values == nullptr && p.value_scales == nullptr;
  SX_CHECK(call, p.out_values == nullptr ? has_none : has_both,
           "values and value_scales must be there with out_values, else null", 0);
  return SX_CALL(*context, kv_expand, p);
}
