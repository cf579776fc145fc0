/*
 * The exported functions of attention and of the choice of tiles: they check every argument that can
 * be checked and call the backend's op.
 */
#include "attention_checks.h"

using namespace sx;

namespace {

/* Keys, their sizes and strides; values too if `with_values`. */
sx_status check_kv(const Call& call, const sx_key_values& kv, bool with_values) {
  const bool own = kv.key_tokens > 0;
  const bool prefix = kv.prefix_tokens > 0;
  SX_CHECK_SIZE(call, kv, key_tokens);
  SX_CHECK_SIZE(call, kv, prefix_tokens);
  SX_CHECK(call, !own || kv.keys != nullptr, "keys must not be null", 0);
  SX_CHECK(call, !own || !with_values || kv.values != nullptr, "values must not be null", 0);
  SX_CHECK(call, !prefix || kv.prefix_keys != nullptr,
           "prefix_keys must not be null if there is a prefix", 0);
  SX_CHECK(call, !prefix || !with_values || kv.prefix_values != nullptr,
           "prefix_values must not be null if there is a prefix", 0);
  SX_CHECK_SIZE(call, kv, token_stride);
  SX_CHECK_SIZE(call, kv, head_stride);
  SX_CHECK_SIZE(call, kv, prefix_token_stride);
  SX_CHECK_SIZE(call, kv, prefix_head_stride);
  SX_CHECK_SIZE(call, kv, prefix_gap);
  return SX_OK;
}

/* What dense and block-sparse attention have in common. */
sx_status check_attention(const Call& call, const sx_attention_dense_params& p) {
  SX_CHECK_POINTER(call, p, out);
  SX_CHECK_POINTER(call, p, q);
  SX_CHECK_FLOAT(call, p, out_dtype);
  SX_PASS(check_dtypes(call, p.q_dtype, p.kv.dtype));
  SX_PASS(check_cache(call, p.kv.dtype));
  SX_PASS(check_heads(call, p.q_heads, p.kv.kv_heads, p.kv.head_dim));
  SX_CHECK_SIZE(call, p, q_tokens);
  SX_CHECK_SIZE(call, p, q_offset);
  SX_CHECK_SIZE(call, p, window);
  SX_CHECK_FINITE(call, p, scale);
  return check_kv(call, p.kv, true);
}

sx_status check_whole_tiles(const Call& call, int64_t q_offset, int64_t prefix_tokens) {
  SX_CHECK(call, q_offset % SX_TILE == 0, "q_offset must be a multiple of 128", q_offset);
  SX_CHECK(call, prefix_tokens % SX_TILE == 0, "prefix_tokens must be a multiple of 128",
           prefix_tokens);
  return SX_OK;
}

/* The lists of chosen tiles of `rows` rows of tiles. */
struct TileLists {
  const int32_t* counts;
  const int32_t* indices;
  int64_t index_stride, rows, key_tiles;
};

/* Counts and numbers of every row of tiles: in range and ascending. */
sx_status check_tile_lists(const Call& call, const TileLists& p) {
  for (int64_t row = 0; row < p.rows; row++) {
    const int32_t count = p.counts[row];
    SX_CHECK(call, count >= 0 && count <= p.index_stride && count <= p.key_tiles,
             "counts must be 0 to the number of key tiles and at most index_stride", count);
    const int32_t* list = p.indices + row * p.index_stride;
    for (int32_t i = 0; i < count; i++) {
      SX_CHECK(call, list[i] >= 0 && list[i] < p.key_tiles,
               "indices must be below the number of key tiles", list[i]);
      SX_CHECK(call, i == 0 || list[i] > list[i - 1], "indices must ascend", list[i]);
    }
  }
  return SX_OK;
}

int64_t tile_count(int64_t tokens) { return (tokens + SX_TILE - 1) / SX_TILE; }

sx_status check_stride(const Call& call, int64_t stride) {
  SX_CHECK(call, stride >= 1 && stride <= SX_TILE && SX_TILE % stride == 0,
           "stride must be a divisor of 128", stride);
  return SX_OK;
}

/* What the antidiagonal and the exact mass of tiles have in common. */
sx_status check_mass(const Call& call, const sx_antidiagonal_score_params& p) {
  SX_CHECK_POINTER(call, p, mass);
  SX_CHECK_POINTER(call, p, q);
  SX_PASS(check_dtypes(call, p.q_dtype, p.kv.dtype));
  SX_PASS(check_cache(call, p.kv.dtype));
  SX_PASS(check_heads(call, p.q_heads, p.kv.kv_heads, p.kv.head_dim));
  SX_CHECK_SIZE(call, p, q_tokens);
  SX_CHECK_SIZE(call, p, q_offset);
  SX_CHECK_SIZE(call, p, window);
  SX_CHECK_FINITE(call, p, scale);
  SX_PASS(check_kv(call, p.kv, false));
  SX_PASS(check_whole_tiles(call, p.q_offset, p.kv.prefix_tokens));
  const int64_t keys = p.kv.prefix_tokens + p.kv.key_tokens;
  SX_CHECK(call, keys == p.q_offset + p.q_tokens,
           "prefix_tokens + key_tokens must be q_offset + q_tokens", keys);
  return SX_OK;
}

/* NaN is refused, too. */
sx_status check_threshold(const Call& call, float threshold) {
  SX_CHECK(call, threshold >= 0, "threshold must be at least 0 (shown without its fraction)",
           threshold > -1e18f ? threshold : 0);
  return SX_OK;
}

}  // namespace

sx_status sx_attention_dense(sx_context* context, const sx_attention_dense_params* params) {
  SX_BEGIN(context, params, "attend");
  SX_PASS(check_attention(call, p));
  return SX_CALL(*context, attention_dense, p);
}

sx_status sx_attention_block_sparse(sx_context* context,
                                    const sx_attention_block_sparse_params* params) {
  SX_BEGIN(context, params, "attend to tiles");
  SX_PASS(check_attention(call, p.attention));
  SX_PASS(check_whole_tiles(call, p.attention.q_offset, p.attention.kv.prefix_tokens));
  SX_CHECK_POINTER(call, p, counts);
  SX_CHECK_POINTER(call, p, indices);
  SX_CHECK_SIZE(call, p, index_stride);
  const sx_attention_dense_params& all = p.attention;
  const TileLists lists = {p.counts, p.indices, p.index_stride,
                           all.q_heads * tile_count(all.q_tokens),
                           tile_count(all.kv.prefix_tokens + all.kv.key_tokens)};
  if (kSeesMemory) SX_PASS(check_tile_lists(call, lists));
  return SX_CALL(*context, attention_block_sparse, p);
}

sx_status sx_merge_states(sx_context* context, const sx_merge_states_params* params) {
  SX_BEGIN(context, params, "merge");
  SX_CHECK_POINTER(call, p, out);
  SX_CHECK_POINTER(call, p, parts);
  SX_CHECK_FLOAT(call, p, out_dtype);
  SX_CHECK_FLAG(call, p, by_score);
  SX_CHECK(call, p.part_count >= 1 && p.part_count <= 4096, "part_count must be 1 to 4096",
           p.part_count);
  SX_CHECK_SIZE(call, p, tokens);
  SX_PASS(check_heads(call, p.heads, p.heads < 1 ? 1 : p.heads, p.head_dim));
  SX_CHECK(
      call,
      is_size(p.part_stride) && p.part_stride >= p.tokens * p.heads * (p.head_dim + 1) + p.heads,
      "part_stride must be at least a part's size", p.part_stride);
  return SX_CALL(*context, merge_states, p);
}

sx_status sx_antidiagonal_score(sx_context* context, const sx_antidiagonal_score_params* params) {
  SX_BEGIN(context, params, "score tiles");
  SX_PASS(check_mass(call, p));
  SX_PASS(check_stride(call, p.stride));
  return SX_CALL(*context, antidiagonal_score, p);
}

sx_status sx_select_tiles(sx_context* context, const sx_select_tiles_params* params) {
  SX_BEGIN(context, params, "choose tiles");
  SX_CHECK_POINTER(call, p, counts);
  SX_CHECK_POINTER(call, p, indices);
  SX_CHECK_POINTER(call, p, mass);
  SX_CHECK(call, p.heads >= 1 && p.heads <= 4096, "heads must be 1 to 4096", p.heads);
  SX_CHECK_SIZE(call, p, q_tiles);
  SX_CHECK(call, p.key_tiles >= 0 && p.key_tiles <= INT32_MAX, "key_tiles must be below 2^31",
           p.key_tiles);
  SX_CHECK(call, is_size(p.first_tile) && p.first_tile + p.q_tiles <= p.key_tiles,
           "first_tile + q_tiles must be at most key_tiles", p.first_tile);
  SX_CHECK(call, is_size(p.index_stride) && p.index_stride >= p.key_tiles,
           "index_stride must be at least key_tiles", p.index_stride);
  SX_CHECK_SIZE(call, p, window);
  SX_CHECK_SIZE(call, p, prefix_tokens);
  SX_CHECK_SIZE(call, p, prefix_gap);
  SX_PASS(check_threshold(call, p.threshold));
  SX_CHECK_FLAG(call, p, by_share);
  if (kSeesMemory && p.head_thresholds != nullptr) {
    for (int64_t h = 0; h < p.heads; h++) SX_PASS(check_threshold(call, p.head_thresholds[h]));
  }
  return SX_CALL(*context, select_tiles, p);
}

sx_status sx_tile_mass(sx_context* context, const sx_tile_mass_params* params) {
  SX_BEGIN(context, params, "sum tiles");
  SX_PASS(check_mass(call, p.tiles));
  SX_CHECK_POINTER(call, p, lse_log2);
  return SX_CALL(*context, tile_mass, p);
}

sx_status sx_tile_means(sx_context* context, const sx_tile_means_params* params) {
  SX_BEGIN(context, params, "average tiles");
  SX_CHECK_POINTER(call, p, mean_keys);
  SX_CHECK_POINTER(call, p, mean_values);
  SX_CHECK_FLOAT(call, p, mean_dtype);
  SX_CHECK_FLOAT(call, p.kv, dtype);
  SX_PASS(check_cache(call, p.kv.dtype));
  const int64_t heads = p.kv.kv_heads;
  SX_PASS(check_heads(call, heads, heads < 1 ? 1 : heads, p.kv.head_dim));
  SX_PASS(check_kv(call, p.kv, true));
  SX_PASS(check_whole_tiles(call, 0, p.kv.prefix_tokens));
  SX_CHECK_SIZE(call, p, first_tile);
  const int64_t tiles = tile_count(p.kv.prefix_tokens + p.kv.key_tokens);
  SX_CHECK(call, is_size(p.tile_count) && p.first_tile + p.tile_count <= tiles,
           "first_tile + tile_count must be at most the number of key tiles", p.tile_count);
  SX_CHECK_SIZE(call, p, mean_head_stride);
  return SX_CALL(*context, tile_means, p);
}

sx_status sx_attention_rest(sx_context* context, const sx_attention_rest_params* params) {
  SX_BEGIN(context, params, "attend to the rest");
  SX_CHECK_POINTER(call, p, out);
  SX_CHECK_POINTER(call, p, partial);
  SX_CHECK_POINTER(call, p, partial_lse_log2);
  SX_CHECK_POINTER(call, p, q);
  SX_CHECK_POINTER(call, p, mean_keys);
  SX_CHECK_POINTER(call, p, mean_values);
  SX_CHECK_POINTER(call, p, counts);
  SX_CHECK_POINTER(call, p, indices);
  SX_CHECK_FLOAT(call, p, out_dtype);
  SX_PASS(check_dtypes(call, p.q_dtype, p.mean_dtype));
  if (p.mean_dtype != kQueryDtype) return lacks(call, kMeanRule, p.mean_dtype);
  SX_PASS(check_heads(call, p.q_heads, p.kv_heads, p.head_dim));
  SX_CHECK_SIZE(call, p, q_tokens);
  SX_CHECK_SIZE(call, p, q_offset);
  SX_CHECK_SIZE(call, p, window);
  SX_CHECK_SIZE(call, p, prefix_tokens);
  SX_CHECK_SIZE(call, p, prefix_gap);
  SX_CHECK_SIZE(call, p, index_stride);
  SX_CHECK_SIZE(call, p, mean_head_stride);
  SX_CHECK_FINITE(call, p, scale);
  SX_PASS(check_whole_tiles(call, p.q_offset, p.prefix_tokens));
  const TileLists lists = {p.counts, p.indices, p.index_stride, p.q_heads * tile_count(p.q_tokens),
                           tile_count(p.q_offset + p.q_tokens)};
  if (kSeesMemory) SX_PASS(check_tile_lists(call, lists));
  return SX_CALL(*context, attention_rest, p);
}

sx_status sx_key_mean(sx_context* context, const sx_key_mean_params* params) {
  SX_BEGIN(context, params, "average keys");
  SX_CHECK_POINTER(call, p, out);
  SX_CHECK_POINTER(call, p, keys);
  SX_CHECK_FLOAT(call, p, kv_dtype);
  SX_CHECK(call, p.tokens >= 1 && p.tokens <= kMaxSize, "tokens must be 1 to 2^40", p.tokens);
  SX_PASS(check_heads(call, p.kv_heads, p.kv_heads < 1 ? 1 : p.kv_heads, p.head_dim));
  SX_CHECK_SIZE(call, p, token_stride);
  SX_CHECK_SIZE(call, p, head_stride);
  return SX_CALL(*context, key_mean, p);
}

sx_status sx_rank_score(sx_context* context, const sx_rank_score_params* params) {
  SX_BEGIN(context, params, "score a rank");
  SX_CHECK_POINTER(call, p, score);
  SX_CHECK_POINTER(call, p, q);
  SX_CHECK_POINTER(call, p, anchor_mean);
  SX_PASS(check_dtypes(call, p.q_dtype, p.kv_dtype));
  SX_PASS(check_heads(call, p.q_heads, p.kv_heads, p.head_dim));
  SX_CHECK_SIZE(call, p, q_tokens);
  SX_CHECK_SIZE(call, p, key_tokens);
  SX_CHECK(call, p.key_tokens == 0 || p.keys != nullptr, "keys must not be null", 0);
  SX_CHECK_SIZE(call, p, token_stride);
  SX_CHECK_SIZE(call, p, head_stride);
  SX_PASS(check_stride(call, p.stride));
  SX_CHECK_FINITE(call, p, scale);
  return SX_CALL(*context, rank_score, p);
}
