/*
 * The exported functions of attention over a cache, and of the choice of its tiles: they check every
 * argument that can be checked and call the backend's op.
 */
#include "attention_checks.h"

using namespace sx;

namespace {

/* First rows and numbers of keys of every sequence, where they can be looked at. */
sx_status check_sequences(const Call& call, const sx_attention_decode_params& p) {
  for (int64_t s = 0; s < p.sequences; s++) {
    const int64_t first = p.first_row == nullptr ? 0 : p.first_row[s];
    SX_CHECK(call, p.key_count[s] >= 0 && p.key_count[s] <= p.sequence_capacity,
             "key_count must be 0 to sequence_capacity", p.key_count[s]);
    SX_CHECK(call, first >= 0 && first + p.key_count[s] <= p.key_capacity,
             "first_row must be 0 to key_capacity - key_count", first);
  }
  return SX_OK;
}

sx_status check_few_queries(const Call& call, int64_t q_tokens, int64_t sequences) {
  SX_CHECK(call, q_tokens >= 0 && q_tokens <= 16, "q_tokens must be 0 to 16", q_tokens);
  SX_CHECK(call, sequences >= 0 && sequences <= 65536, "sequences must be 0 to 65536", sequences);
  return SX_OK;
}

sx_status check_decode(const Call& call, const sx_attention_decode_params& p) {
  SX_CHECK_POINTER(call, p, out);
  SX_CHECK_POINTER(call, p, q);
  SX_CHECK_POINTER(call, p, key_count);
  SX_CHECK_FLAG(call, p, causal);
  SX_PASS(check_few_queries(call, p.q_tokens, p.sequences));
  SX_CHECK_SIZE(call, p, key_capacity);
  SX_CHECK(call, p.sequence_capacity >= 0 && p.sequence_capacity <= p.key_capacity,
           "sequence_capacity must be 0 to key_capacity", p.sequence_capacity);
  SX_CHECK_SIZE(call, p, window);
  SX_CHECK_FLOAT(call, p, out_dtype);
  const bool scaled = has_scales(p.kv_dtype);
  if (scaled && !kHasCache8) return lacks(call, kCacheRule, p.kv_dtype);
  /* Keys of 8 bits are read as they lie: what else there is to check is the queries. */
  SX_PASS(check_dtypes(call, p.q_dtype, scaled ? SX_BF16 : p.kv_dtype));
  SX_PASS(check_cache(call, scaled ? SX_BF16 : p.kv_dtype));
  SX_PASS(check_heads(call, p.q_heads, p.kv_heads, p.head_dim));
  SX_CHECK_FINITE(call, p, scale);
  /* Pointers are checked against the capacity, so that a refusal does not depend on the fill. */
  SX_CHECK(call, p.key_capacity == 0 || p.keys != nullptr, "keys must not be null", 0);
  SX_CHECK(call, p.key_capacity == 0 || p.values != nullptr, "values must not be null", 0);
  const bool has_both = p.key_scales != nullptr && p.value_scales != nullptr;
  const bool has_none = p.key_scales == nullptr && p.value_scales == nullptr;
  SX_CHECK(call, scaled ? p.key_capacity == 0 || has_both : has_none,
           "key_scales and value_scales must be there if kv_dtype is I8 or F8E4M3, else null",
           p.kv_dtype);
  SX_CHECK_SIZE(call, p, scale_head_stride);
  SX_CHECK_SIZE(call, p, token_stride);
  SX_CHECK_SIZE(call, p, head_stride);
  if (kSeesMemory) SX_PASS(check_sequences(call, p));
  return SX_OK;
}

/* The most tiles of a sequence. */
constexpr int64_t kMostTiles = 1 << 20;

/* Numbers of pooled tiles and the rows of their means; `at` has the first rows. */
template <class Params, class Sequences>
sx_status check_pooled(const Call& call, const Params& p, const Sequences& at) {
  for (int64_t s = 0; s < at.sequences; s++) {
    const int64_t first = at.first_row == nullptr ? 0 : at.first_row[s];
    SX_CHECK(call, p.pooled_tiles[s] >= 0 && p.pooled_tiles[s] <= p.index_stride,
             "pooled_tiles must be 0 to index_stride", p.pooled_tiles[s]);
    SX_CHECK(call, first >= 0 && first % SX_TILE == 0, "first_row must be a multiple of 128",
             first);
    SX_CHECK(call, first / SX_TILE + p.pooled_tiles[s] <= p.mean_capacity,
             "pooled_tiles must end within mean_capacity", p.pooled_tiles[s]);
  }
  return SX_OK;
}

/* The tiles of every key head: chosen ones and others, each in ascending order, once each. */
sx_status check_decode_lists(const Call& call, const sx_attention_decode_tiles_params& p) {
  const sx_attention_decode_params& all = p.attention;
  for (int64_t s = 0; s < all.sequences; s++) {
    const int64_t tiles = p.pooled_tiles[s];
    const int64_t seen = all.key_count[s] - (all.causal == 1 ? all.q_tokens - 1 : 0);
    SX_CHECK(call, tiles == 0 || tiles * SX_TILE <= seen,
             "the keys of pooled_tiles must be seen by all queries", tiles);
    for (int64_t h = 0; h < all.kv_heads; h++) {
      const int32_t count = p.counts[s * all.kv_heads + h];
      const int32_t* list = p.indices + (s * all.kv_heads + h) * p.index_stride;
      SX_CHECK(call, count >= 0 && count <= tiles, "counts must be 0 to pooled_tiles", count);
      int64_t chosen = 0, others = count;
      for (int64_t tile = 0; tile < tiles; tile++) {
        if (chosen < count && list[chosen] == tile) {
          chosen++;
        } else {
          SX_CHECK(call, others < tiles && list[others] == tile,
                   "indices must have every pooled tile once, in order", tile);
          others++;
        }
      }
    }
  }
  return SX_OK;
}

}  // namespace

sx_status sx_attention_decode(sx_context* context, const sx_attention_decode_params* params) {
  SX_BEGIN(context, params, "attend to the cache");
  SX_PASS(check_decode(call, p));
  return SX_CALL(*context, attention_decode, p);
}

sx_status sx_decode_select(sx_context* context, const sx_decode_select_params* params) {
  SX_BEGIN(context, params, "choose tiles of the cache");
  SX_CHECK_POINTER(call, p, counts);
  SX_CHECK_POINTER(call, p, indices);
  SX_CHECK_POINTER(call, p, mass);
  SX_CHECK_POINTER(call, p, q);
  SX_CHECK_POINTER(call, p, pooled_tiles);
  SX_CHECK_FLAG(call, p, by_threshold);
  SX_PASS(check_few_queries(call, p.q_tokens, p.sequences));
  SX_PASS(check_dtypes(call, p.q_dtype, p.kv_dtype));
  SX_PASS(check_cache(call, p.kv_dtype));
  SX_PASS(check_heads(call, p.q_heads, p.kv_heads, p.head_dim));
  SX_CHECK_SIZE(call, p, mean_capacity);
  SX_CHECK(call, p.mean_capacity == 0 || p.mean_keys != nullptr, "mean_keys must not be null", 0);
  SX_CHECK(call, p.mean_capacity == 0 || p.spread != nullptr, "spread must not be null", 0);
  SX_CHECK(call, p.mean_capacity == 0 || p.codes != nullptr, "codes must not be null", 0);
  SX_CHECK_SIZE(call, p, mean_head_stride);
  SX_CHECK_SIZE(call, p, code_head_stride);
  SX_CHECK(call, p.index_stride >= 0 && p.index_stride <= kMostTiles,
           "index_stride must be 0 to 2^20", p.index_stride);
  SX_CHECK_SIZE(call, p, unit_tiles);
  SX_CHECK_SIZE(call, p, first_tiles);
  SX_CHECK_FINITE(call, p, scale);
  SX_CHECK(call, p.keep > 0, "keep must be above 0 (shown as 0)", 0);
  if (kSeesMemory) SX_PASS(check_pooled(call, p, p));
  return SX_CALL(*context, decode_select, p);
}

sx_status sx_key_codes(sx_context* context, const sx_key_codes_params* params) {
  SX_BEGIN(context, params, "encode keys");
  SX_CHECK_POINTER(call, p, codes);
  SX_CHECK_POINTER(call, p, spread);
  SX_CHECK_POINTER(call, p, mean_keys);
  SX_CHECK_FLOAT(call, p, mean_dtype);
  SX_CHECK_FLOAT(call, p, kv_dtype);
  SX_PASS(check_cache(call, p.kv_dtype));
  SX_PASS(check_heads(call, p.kv_heads, p.kv_heads < 1 ? 1 : p.kv_heads, p.head_dim));
  SX_CHECK_SIZE(call, p, key_tokens);
  SX_CHECK(call, p.key_tokens == 0 || p.keys != nullptr, "keys must not be null", 0);
  SX_CHECK_SIZE(call, p, token_stride);
  SX_CHECK_SIZE(call, p, head_stride);
  SX_CHECK_SIZE(call, p, mean_head_stride);
  SX_CHECK_SIZE(call, p, code_head_stride);
  SX_CHECK_SIZE(call, p, first_tile);
  SX_CHECK(call, is_size(p.tile_count) && p.first_tile + p.tile_count <= p.key_tokens / SX_TILE,
           "first_tile + tile_count must be at most the number of whole tiles", p.tile_count);
  return SX_CALL(*context, key_codes, p);
}

sx_status sx_attention_decode_tiles(sx_context* context,
                                    const sx_attention_decode_tiles_params* params) {
  SX_BEGIN(context, params, "attend to tiles of the cache");
  const sx_attention_decode_params& all = p.attention;
  SX_PASS(check_decode(call, all));
  SX_CHECK(call, all.window == 0, "window must be 0", all.window);
  SX_CHECK_SIZE(call, p, mean_capacity);
  SX_CHECK(call, p.mean_capacity == 0 || p.mean_keys != nullptr, "mean_keys must not be null", 0);
  SX_CHECK(call, p.mean_capacity == 0 || p.mean_values != nullptr, "mean_values must not be null",
           0);
  SX_CHECK_SIZE(call, p, mean_head_stride);
  SX_CHECK_FLOAT(call, p, mean_dtype);
  SX_PASS(check_cache(call, p.mean_dtype));
  SX_CHECK(call, has_scales(all.kv_dtype) || p.mean_dtype == all.kv_dtype,
           "mean_dtype must be kv_dtype unless that has 8 bits", p.mean_dtype);
  SX_CHECK_POINTER(call, p, pooled_tiles);
  SX_CHECK_POINTER(call, p, counts);
  SX_CHECK_POINTER(call, p, indices);
  SX_CHECK(call, p.index_stride >= 0 && p.index_stride <= kMostTiles,
           "index_stride must be 0 to 2^20", p.index_stride);
  if (kSeesMemory) {
    SX_PASS(check_pooled(call, p, all));
    SX_PASS(check_decode_lists(call, p));
  }
  return SX_CALL(*context, attention_decode_tiles, p);
}
