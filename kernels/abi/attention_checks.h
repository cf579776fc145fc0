/*
 * Checks that the ops of attention have in common, in whichever file they are.
 */
#ifndef SX_ABI_ATTENTION_CHECKS_H
#define SX_ABI_ATTENTION_CHECKS_H

#include "checks.h"

namespace sx {

inline sx_status check_heads(const Call& call, int64_t q_heads, int64_t kv_heads,
                             int64_t head_dim) {
  SX_CHECK(call, q_heads >= 1 && q_heads <= 4096, "q_heads must be 1 to 4096", q_heads);
  SX_CHECK(call, kv_heads >= 1 && q_heads % kv_heads == 0, "kv_heads must divide q_heads",
           kv_heads);
  SX_CHECK(call, head_dim == 64 || head_dim == 128, "head_dim must be 64 or 128", head_dim);
  return SX_OK;
}

/* Whether keys and values have a scale for each row. */
inline bool has_scales(sx_dtype dtype) { return dtype == SX_I8 || dtype == SX_F8E4M3; }

/* The dtypes of queries and output, then that of the cache. */
inline sx_status check_dtypes(const Call& call, sx_dtype q_dtype, sx_dtype kv_dtype) {
  SX_CHECK(call, is_float(q_dtype), "q_dtype must be F32 or BF16", q_dtype);
  SX_CHECK(call, is_float(kv_dtype), "kv_dtype must be F32 or BF16", kv_dtype);
  if (q_dtype != kQueryDtype) return lacks(call, kQueryRule, q_dtype);
  return SX_OK;
}

/* Whether attention takes the keys and values as they lie in the cache. */
inline sx_status check_cache(const Call& call, sx_dtype kv_dtype) {
  return takes_cache(kv_dtype) ? SX_OK : lacks(call, kCacheRule, kv_dtype);
}

}  // namespace sx

#endif
