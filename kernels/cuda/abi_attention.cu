/*
 * The exported functions of attention and block selection: they check every argument that can be
 * checked and call the op of the context's device.
 */
#include "abi.cuh"

using namespace sx;
using namespace sx::cuda;

namespace {

/* One call being checked: its context and what it does, for the texts. */
struct Call {
  Context* context;
  const char* action;
};

#define SX_REQUIRE(call, condition, rule, value) \
  SX_CHECK((call).context, condition, (call).action, rule, value)
#define SX_REQUIRE_POINTER(call, pointer) SX_CHECK_POINTER((call).context, (call).action, pointer)
#define SX_REQUIRE_SIZE(call, size) SX_CHECK_SIZE((call).context, (call).action, size)

sx_status check_heads(const Call& call, int64_t q_heads, int64_t kv_heads, int64_t head_dim) {
  SX_REQUIRE(call, q_heads >= 1 && q_heads <= 4096, "q_heads must be 1 to 4096", q_heads);
  SX_REQUIRE(call, kv_heads >= 1 && q_heads % kv_heads == 0, "kv_heads must divide q_heads",
             kv_heads);
  SX_REQUIRE(call, head_dim == 64 || head_dim == 128, "head_dim must be 64 or 128", head_dim);
  return SX_OK;
}

/* The dtypes of queries, cache and output. */
sx_status check_dtypes(const Call& call, sx_dtype q_dtype, sx_dtype kv_dtype, sx_dtype out_dtype) {
  SX_REQUIRE(call, q_dtype == SX_F32 || q_dtype == SX_BF16, "q_dtype must be F32 or BF16", q_dtype);
  SX_REQUIRE(call, is_float(kv_dtype), "kv_dtype must be F32 or BF16", kv_dtype);
  SX_REQUIRE(call, is_float(out_dtype), "out_dtype must be F32 or BF16", out_dtype);
  if (q_dtype != SX_BF16) {
    fail(*call.context, call.action, "q_dtype must be BF16 on a GPU", q_dtype);
    return SX_UNSUPPORTED;
  }
  return SX_OK;
}

/* The tensor cores take keys and values as they lie in the cache. */
sx_status check_cache(const Call& call, sx_dtype kv_dtype) {
  if (kv_dtype != SX_BF16) {
    fail(*call.context, call.action, "kv_dtype must be BF16 on a GPU", kv_dtype);
    return SX_UNSUPPORTED;
  }
  return SX_OK;
}

/* Keys, their sizes and strides; values too if `with_values`. */
sx_status check_kv(const Call& call, const KeyValues& kv, bool with_values) {
  const bool own = kv.key_tokens > 0;
  const bool prefix = kv.prefix_tokens > 0;
  SX_REQUIRE(call, kv.key_tokens >= 0 && kv.key_tokens <= kMaxSize,
             "key_tokens must be 0 to 2^40", kv.key_tokens);
  SX_REQUIRE(call, kv.prefix_tokens >= 0 && kv.prefix_tokens <= kMaxSize,
             "prefix_tokens must be 0 to 2^40", kv.prefix_tokens);
  SX_REQUIRE(call, !own || kv.keys != nullptr, "keys must not be null", 0);
  SX_REQUIRE(call, !own || !with_values || kv.values != nullptr, "values must not be null", 0);
  SX_REQUIRE(call, !prefix || kv.prefix_keys != nullptr,
             "prefix_keys must not be null if there is a prefix", 0);
  SX_REQUIRE(call, !prefix || !with_values || kv.prefix_values != nullptr,
             "prefix_values must not be null if there is a prefix", 0);
  SX_REQUIRE(call, is_size(kv.token_stride), "token_stride must be 0 to 2^40", kv.token_stride);
  SX_REQUIRE(call, is_size(kv.head_stride), "head_stride must be 0 to 2^40", kv.head_stride);
  SX_REQUIRE(call, is_size(kv.prefix_token_stride), "prefix_token_stride must be 0 to 2^40",
             kv.prefix_token_stride);
  SX_REQUIRE(call, is_size(kv.prefix_head_stride), "prefix_head_stride must be 0 to 2^40",
             kv.prefix_head_stride);
  return SX_OK;
}

/* What dense and block-sparse attention have in common. */
sx_status check_attention(const Call& call, const AttentionArgs& args, sx_dtype q_dtype) {
  SX_REQUIRE(call, args.out != nullptr, "out must not be null", 0);
  SX_REQUIRE(call, args.q != nullptr, "q must not be null", 0);
  SX_RETURN_IF_BAD(check_dtypes(call, q_dtype, args.kv.dtype, args.out_dtype));
  SX_RETURN_IF_BAD(check_cache(call, args.kv.dtype));
  SX_RETURN_IF_BAD(check_heads(call, args.q_heads, args.kv.kv_heads, args.kv.head_dim));
  SX_REQUIRE(call, is_size(args.q_tokens), "q_tokens must be 0 to 2^40", args.q_tokens);
  SX_REQUIRE(call, is_size(args.q_offset), "q_offset must be 0 to 2^40", args.q_offset);
  SX_REQUIRE(call, args.scale - args.scale == 0,
             "scale must be finite (shown as 0)", 0);
  return check_kv(call, args.kv, true);
}

sx_status check_whole_blocks(const Call& call, int64_t q_offset, int64_t prefix_tokens) {
  SX_REQUIRE(call, q_offset % SX_BLOCK == 0, "q_offset must be a multiple of 128", q_offset);
  SX_REQUIRE(call, prefix_tokens % SX_BLOCK == 0, "prefix_tokens must be a multiple of 128",
             prefix_tokens);
  return SX_OK;
}

}  // namespace

sx_status sx_attention_dense(sx_context* context, void* out, float* lse_log2, const void* q,
                             const void* keys, const void* values, const void* prefix_keys,
                             const void* prefix_values, sx_dtype out_dtype, sx_dtype q_dtype,
                             sx_dtype kv_dtype, int64_t q_tokens, int64_t q_offset,
                             int64_t key_tokens, int64_t prefix_tokens, int64_t q_heads,
                             int64_t kv_heads, int64_t head_dim, int64_t token_stride,
                             int64_t head_stride, int64_t prefix_token_stride,
                             int64_t prefix_head_stride, float scale) {
  SX_CHECK_CONTEXT(context);
  const AttentionArgs args = {out, lse_log2, q,
                              {keys, values, prefix_keys, prefix_values, kv_dtype, key_tokens,
                               prefix_tokens, kv_heads, head_dim, token_stride, head_stride,
                               prefix_token_stride, prefix_head_stride},
                              out_dtype, q_tokens, q_offset, q_heads, scale, nullptr, nullptr, 0};
  SX_RETURN_IF_BAD(check_attention({context, "attend"}, args, q_dtype));
  return cuda::attention_dense(*context, args);
}

sx_status sx_attention_block_sparse(
    sx_context* context, void* out, float* lse_log2, const void* q, const void* keys,
    const void* values, const void* prefix_keys, const void* prefix_values, const int32_t* counts,
    const int32_t* indices, sx_dtype out_dtype, sx_dtype q_dtype, sx_dtype kv_dtype,
    int64_t q_tokens, int64_t q_offset, int64_t key_tokens, int64_t prefix_tokens, int64_t q_heads,
    int64_t kv_heads, int64_t head_dim, int64_t token_stride, int64_t head_stride,
    int64_t prefix_token_stride, int64_t prefix_head_stride, int64_t index_stride, float scale) {
  SX_CHECK_CONTEXT(context);
  const Call call = {context, "attend to blocks"};
  const AttentionArgs args = {out, lse_log2, q,
                              {keys, values, prefix_keys, prefix_values, kv_dtype, key_tokens,
                               prefix_tokens, kv_heads, head_dim, token_stride, head_stride,
                               prefix_token_stride, prefix_head_stride},
                              out_dtype, q_tokens, q_offset, q_heads, scale, counts, indices,
                              index_stride};
  SX_RETURN_IF_BAD(check_attention(call, args, q_dtype));
  SX_RETURN_IF_BAD(check_whole_blocks(call, q_offset, prefix_tokens));
  SX_REQUIRE_POINTER(call, counts);
  SX_REQUIRE_POINTER(call, indices);
  SX_REQUIRE_SIZE(call, index_stride);
  return cuda::attention_block_sparse(*context, args);
}

sx_status sx_attention_decode(sx_context* context, void* out, float* lse_log2, const void* q,
                              const void* keys, const void* values, const int32_t* key_count,
                              sx_dtype out_dtype, sx_dtype q_dtype, sx_dtype kv_dtype,
                              int32_t causal, int64_t q_tokens, int64_t key_capacity,
                              int64_t q_heads, int64_t kv_heads, int64_t head_dim,
                              int64_t token_stride, int64_t head_stride, float scale) {
  SX_CHECK_CONTEXT(context);
  const Call call = {context, "attend to the cache"};
  SX_REQUIRE_POINTER(call, key_count);
  SX_REQUIRE(call, causal == 0 || causal == 1, "causal must be 0 or 1", causal);
  SX_REQUIRE(call, q_tokens >= 0 && q_tokens <= 16, "q_tokens must be 0 to 16", q_tokens);
  SX_REQUIRE_SIZE(call, key_capacity);
  /* The pointers are checked against the capacity: the fill is known to the device alone. */
  const AttentionArgs capacity = {out, lse_log2, q,
                                  {keys, values, nullptr, nullptr, kv_dtype, key_capacity, 0,
                                   kv_heads, head_dim, token_stride, head_stride, 0, 0},
                                  out_dtype, q_tokens, 0, q_heads, scale, nullptr, nullptr, 0};
  SX_RETURN_IF_BAD(check_attention(call, capacity, q_dtype));
  return cuda::attention_decode(
      *context, {out, lse_log2, q, keys, values, out_dtype, kv_dtype, key_count, causal == 1,
                 key_capacity, q_tokens, q_heads, kv_heads, head_dim, token_stride, head_stride, scale});
}

sx_status sx_merge_states(sx_context* context, void* out, const float* parts, sx_dtype out_dtype,
                          int32_t by_score, int64_t part_count, int64_t part_stride,
                          int64_t tokens, int64_t heads, int64_t head_dim) {
  SX_CHECK_CONTEXT(context);
  const Call call = {context, "merge"};
  SX_REQUIRE_POINTER(call, out);
  SX_REQUIRE_POINTER(call, parts);
  SX_REQUIRE(call, is_float(out_dtype), "out_dtype must be F32 or BF16", out_dtype);
  SX_REQUIRE(call, by_score == 0 || by_score == 1, "by_score must be 0 or 1", by_score);
  SX_REQUIRE(call, part_count >= 1 && part_count <= 4096, "part_count must be 1 to 4096",
             part_count);
  SX_REQUIRE_SIZE(call, tokens);
  SX_RETURN_IF_BAD(check_heads(call, heads, heads < 1 ? 1 : heads, head_dim));
  SX_REQUIRE(call, is_size(part_stride) && part_stride >= tokens * heads * (head_dim + 1) + heads,
             "part_stride must be at least a part's size", part_stride);
  return cuda::merge_states(*context, {out, parts, out_dtype, by_score == 1, part_count,
                                               part_stride, tokens, heads, head_dim});
}

sx_status sx_antidiagonal_score(sx_context* context, float* mass, const void* q, const void* keys,
                                const void* prefix_keys, sx_dtype q_dtype, sx_dtype kv_dtype,
                                int64_t q_tokens, int64_t q_offset, int64_t key_tokens,
                                int64_t prefix_tokens, int64_t q_heads, int64_t kv_heads,
                                int64_t head_dim, int64_t token_stride, int64_t head_stride,
                                int64_t prefix_token_stride, int64_t prefix_head_stride,
                                int64_t stride, float scale) {
  SX_CHECK_CONTEXT(context);
  const Call call = {context, "score blocks"};
  const AntidiagonalArgs args = {mass, q,
                                 {keys, nullptr, prefix_keys, nullptr, kv_dtype, key_tokens,
                                  prefix_tokens, kv_heads, head_dim, token_stride, head_stride,
                                  prefix_token_stride, prefix_head_stride},
                                 q_tokens, q_offset, q_heads, stride, scale};
  SX_REQUIRE_POINTER(call, mass);
  SX_REQUIRE_POINTER(call, q);
  SX_RETURN_IF_BAD(check_dtypes(call, q_dtype, kv_dtype, SX_F32));
  SX_RETURN_IF_BAD(check_cache(call, kv_dtype));
  SX_RETURN_IF_BAD(check_heads(call, q_heads, kv_heads, head_dim));
  SX_REQUIRE_SIZE(call, q_tokens);
  SX_REQUIRE_SIZE(call, q_offset);
  SX_REQUIRE(call, scale - scale == 0, "scale must be finite (shown as 0)", 0);
  SX_RETURN_IF_BAD(check_kv(call, args.kv, false));
  SX_RETURN_IF_BAD(check_whole_blocks(call, q_offset, prefix_tokens));
  SX_REQUIRE(call, prefix_tokens + key_tokens == q_offset + q_tokens,
             "prefix_tokens + key_tokens must be q_offset + q_tokens", prefix_tokens + key_tokens);
  SX_REQUIRE(call, stride >= 1 && stride <= SX_BLOCK && SX_BLOCK % stride == 0,
             "stride must be a divisor of 128", stride);
  return cuda::antidiagonal_score(*context, args);
}

sx_status sx_select_blocks(sx_context* context, int32_t* counts, int32_t* indices,
                           const float* mass, int64_t heads, int64_t q_blocks, int64_t key_blocks,
                           int64_t first_block, int64_t index_stride, float threshold) {
  SX_CHECK_CONTEXT(context);
  const Call call = {context, "choose blocks"};
  SX_REQUIRE_POINTER(call, counts);
  SX_REQUIRE_POINTER(call, indices);
  SX_REQUIRE_POINTER(call, mass);
  SX_REQUIRE(call, heads >= 1 && heads <= 4096, "heads must be 1 to 4096", heads);
  SX_REQUIRE_SIZE(call, q_blocks);
  SX_REQUIRE(call, key_blocks >= 0 && key_blocks <= INT32_MAX, "key_blocks must be below 2^31",
             key_blocks);
  SX_REQUIRE(call, is_size(first_block) && first_block + q_blocks <= key_blocks,
             "first_block + q_blocks must be at most key_blocks", first_block);
  SX_REQUIRE(call, is_size(index_stride) && index_stride >= key_blocks,
             "index_stride must be at least key_blocks", index_stride);
  SX_REQUIRE(call, threshold > 0, "threshold must be above 0 (shown without its fraction)",
             threshold > -1e18f ? threshold : 0);
  return cuda::select_blocks(*context, {counts, indices, mass, heads, q_blocks, key_blocks,
                                                first_block, index_stride, threshold});
}

sx_status sx_key_mean(sx_context* context, float* out, const void* keys, sx_dtype kv_dtype,
                      int64_t tokens, int64_t kv_heads, int64_t head_dim, int64_t token_stride,
                      int64_t head_stride) {
  SX_CHECK_CONTEXT(context);
  const Call call = {context, "average keys"};
  SX_REQUIRE_POINTER(call, out);
  SX_REQUIRE_POINTER(call, keys);
  SX_REQUIRE(call, is_float(kv_dtype), "kv_dtype must be F32 or BF16", kv_dtype);
  SX_REQUIRE(call, tokens >= 1 && tokens <= kMaxSize, "tokens must be 1 to 2^40", tokens);
  SX_RETURN_IF_BAD(check_heads(call, kv_heads, kv_heads < 1 ? 1 : kv_heads, head_dim));
  SX_REQUIRE_SIZE(call, token_stride);
  SX_REQUIRE_SIZE(call, head_stride);
  return cuda::key_mean(
      *context, {out, keys, kv_dtype, tokens, kv_heads, head_dim, token_stride, head_stride});
}

sx_status sx_host_score(sx_context* context, float* score, const void* q, const float* anchor_mean,
                        const void* keys, sx_dtype q_dtype, sx_dtype kv_dtype, int64_t q_tokens,
                        int64_t key_tokens, int64_t q_heads, int64_t kv_heads, int64_t head_dim,
                        int64_t token_stride, int64_t head_stride, int64_t stride, float scale) {
  SX_CHECK_CONTEXT(context);
  const Call call = {context, "score a host"};
  SX_REQUIRE_POINTER(call, score);
  SX_REQUIRE_POINTER(call, q);
  SX_REQUIRE_POINTER(call, anchor_mean);
  SX_RETURN_IF_BAD(check_dtypes(call, q_dtype, kv_dtype, SX_F32));
  SX_RETURN_IF_BAD(check_heads(call, q_heads, kv_heads, head_dim));
  SX_REQUIRE_SIZE(call, q_tokens);
  SX_REQUIRE_SIZE(call, key_tokens);
  SX_REQUIRE(call, key_tokens == 0 || keys != nullptr, "keys must not be null", 0);
  SX_REQUIRE_SIZE(call, token_stride);
  SX_REQUIRE_SIZE(call, head_stride);
  SX_REQUIRE(call, stride >= 1 && stride <= SX_BLOCK && SX_BLOCK % stride == 0,
             "stride must be a divisor of 128", stride);
  SX_REQUIRE(call, scale - scale == 0, "scale must be finite (shown as 0)", 0);
  return cuda::host_score(*context, {score, q, anchor_mean, keys, kv_dtype, q_tokens,
                                             key_tokens, q_heads, kv_heads, head_dim, token_stride,
                                             head_stride, stride, scale});
}
