/*
 * The exported functions of the dense layers and of sampling: they check every argument that can be
 * checked and call the backend's op.
 */
#include "checks.h"

using namespace sx;

sx_status sx_convert(sx_context* context, const sx_convert_params* params) {
  SX_BEGIN(context, params, "convert");
  SX_CHECK_POINTER(call, p, out);
  SX_CHECK_POINTER(call, p, in);
  SX_CHECK_SIZE(call, p, count);
  SX_CHECK(call, is_convertible(p.out_dtype), "out_dtype must be F32, BF16 or F16", p.out_dtype);
  SX_CHECK(call, is_convertible(p.in_dtype), "in_dtype must be F32, BF16 or F16", p.in_dtype);
  return SX_CALL(*context, convert, p);
}

sx_status sx_word_sum(sx_context* context, const sx_word_sum_params* params) {
  SX_BEGIN(context, params, "sum words");
  SX_CHECK_POINTER(call, p, out);
  SX_CHECK_POINTER(call, p, in);
  SX_CHECK_SIZE(call, p, bytes);
  SX_CHECK(call, p.bytes % 4 == 0, "bytes must be a multiple of 4", p.bytes);
  return SX_CALL(*context, word_sum, p);
}

sx_status sx_embedding(sx_context* context, const sx_embedding_params* params) {
  SX_BEGIN(context, params, "look up embeddings");
  SX_CHECK_POINTER(call, p, out);
  SX_CHECK_POINTER(call, p, table);
  SX_CHECK_POINTER(call, p, ids);
  SX_CHECK_SIZE(call, p, tokens);
  SX_CHECK_SIZE(call, p, dim);
  SX_CHECK_SIZE(call, p, vocab);
  SX_CHECK_FLOAT(call, p, table_dtype);
  SX_CHECK_FINITE(call, p, scale);
  for (int64_t t = 0; kSeesMemory && t < p.tokens; t++) {
    SX_CHECK(call, p.ids[t] >= 0 && p.ids[t] < p.vocab, "ids must be below vocab", p.ids[t]);
  }
  return SX_CALL(*context, embedding, p);
}

sx_status sx_rms_norm(sx_context* context, const sx_rms_norm_params* params) {
  SX_BEGIN(context, params, "normalize");
  SX_CHECK_POINTER(call, p, out);
  SX_CHECK_POINTER(call, p, residual);
  SX_CHECK_POINTER(call, p, weight);
  SX_CHECK_FLOAT(call, p, out_dtype);
  SX_CHECK_FLOAT(call, p, weight_dtype);
  SX_CHECK_SIZE(call, p, rows);
  SX_CHECK(call, p.dim >= 1 && p.dim <= kMaxSize, "dim must be 1 to 2^40", p.dim);
  SX_CHECK(call, p.eps >= 0, "eps must be at least 0 (shown without its fraction)", p.eps);
  return SX_CALL(*context, rms_norm, p);
}

sx_status sx_quantize(sx_context* context, const sx_quantize_params* params) {
  SX_BEGIN(context, params, "quantize");
  SX_CHECK_POINTER(call, p, out);
  SX_CHECK_POINTER(call, p, in);
  SX_CHECK(call, is_convertible(p.in_dtype) || p.in_dtype == SX_I8,
           "in_dtype must be F32, BF16, F16 or I8", p.in_dtype);
  SX_CHECK(call, (p.in_dtype == SX_I8) == (p.scales == nullptr),
           "scales must be null if in_dtype is I8, and not null otherwise", p.in_dtype);
  SX_CHECK_SIZE(call, p, n);
  SX_CHECK(call, p.k >= 1 && p.k <= kMaxSize, "k must be 1 to 2^40", p.k);
  return SX_CALL(*context, quantize, p);
}

sx_status sx_quantize_rows(sx_context* context, const sx_quantize_rows_params* params) {
  SX_BEGIN(context, params, "quantize rows");
  SX_CHECK_POINTER(call, p, out);
  SX_CHECK_POINTER(call, p, scales);
  SX_CHECK_POINTER(call, p, in);
  SX_CHECK(call, is_convertible(p.in_dtype), "in_dtype must be F32, BF16 or F16", p.in_dtype);
  SX_CHECK_SIZE(call, p, rows);
  SX_CHECK(call, p.dim >= 1 && p.dim <= kMaxSize, "dim must be 1 to 2^40", p.dim);
  SX_CHECK(call, p.in_stride >= p.dim && is_size(p.in_stride), "in_stride must be at least dim",
           p.in_stride);
  return SX_CALL(*context, quantize_rows, p);
}

/* Sums of so many products of 8 bits, 127 by 128 at most, are below 2^31. */
constexpr int64_t kMaxInt8Depth = 131072;

/* Which dtypes of x and weight meet, and which have scales. */
static sx_status check_dtypes(const Call& call, const sx_matmul_params& p) {
  const bool is_f8_x = p.x_dtype == SX_F8E4M3, is_f8_weight = p.weight_dtype == SX_F8E4M3;
  const bool is_int8 = p.weight_dtype == SX_I8;
  SX_CHECK(call, is_f8_x || is_float(p.x_dtype), "x_dtype must be F32, BF16 or F8E4M3", p.x_dtype);
  SX_CHECK(call, is_int8 || is_f8_weight || is_float(p.weight_dtype),
           "weight_dtype must be F32, BF16, I8 or F8E4M3", p.weight_dtype);
  SX_CHECK(call, is_f8_x == (p.x_scales != nullptr),
           "x_scales must not be null if x_dtype is F8E4M3, and null otherwise", p.x_dtype);
  SX_CHECK(call, (is_int8 || is_f8_weight) == (p.weight_scales != nullptr),
           "weight_scales must not be null if weight_dtype has 8 bits, and null otherwise",
           p.weight_dtype);
  if (is_f8_weight) return takes_with_f8(p.x_dtype) ? SX_OK : lacks(call, kF8Rule, p.x_dtype);
  if (is_f8_x) return lacks(call, "weight_dtype must be F8E4M3 if x_dtype is", p.weight_dtype);
  if (is_int8) {
    if (!kHasInt8Products) return lacks(call, "weight_dtype must not be I8 on a GPU", SX_I8);
    SX_CHECK(call, p.k <= kMaxInt8Depth, "k must be at most 131072 if weight_dtype is I8", p.k);
    return SX_OK;
  }
  if (p.x_dtype == SX_BF16 && p.weight_dtype != SX_BF16) {
    return lacks(call, "weight_dtype must be BF16 or of 8 bits if x_dtype is BF16", p.weight_dtype);
  }
  return SX_OK;
}

static sx_status check_product(const Call& call, const sx_matmul_params& p) {
  SX_CHECK_POINTER(call, p, out);
  SX_CHECK_POINTER(call, p, x);
  SX_CHECK_POINTER(call, p, weight);
  SX_PASS(check_dtypes(call, p));
  SX_CHECK_FLAG(call, p, accumulate);
  SX_CHECK_SIZE(call, p, m);
  SX_CHECK_SIZE(call, p, n);
  SX_CHECK(call, p.k >= 1 && p.k <= kMaxSize, "k must be 1 to 2^40", p.k);
  SX_CHECK(call, p.x_stride >= p.k && is_size(p.x_stride), "x_stride must be at least k",
           p.x_stride);
  SX_CHECK(call, p.out_stride >= p.n && is_size(p.out_stride), "out_stride must be at least n",
           p.out_stride);
  return SX_OK;
}

sx_status sx_matmul(sx_context* context, const sx_matmul_params* params) {
  SX_BEGIN(context, params, "multiply");
  SX_PASS(check_product(call, p));
  return SX_CALL(*context, matmul, p);
}

sx_status sx_matmul_rows(sx_context* context, const sx_matmul_rows_params* params) {
  SX_BEGIN(context, params, "multiply rows");
  SX_PASS(check_product(call, p.product));
  return SX_CALL(*context, matmul_rows, p);
}

sx_status sx_rope_table(sx_context* context, const sx_rope_table_params* params) {
  SX_BEGIN(context, params, "make rotations");
  SX_CHECK_POINTER(call, p, table);
  SX_CHECK_POINTER(call, p, inverse_frequency);
  SX_CHECK_POINTER(call, p, positions);
  SX_CHECK_SIZE(call, p, tokens);
  SX_CHECK(call, p.rotary_dim >= 2 && p.rotary_dim <= kMaxHeadDim && p.rotary_dim % 2 == 0,
           "rotary_dim must be even, 2 to 256", p.rotary_dim);
  SX_CHECK_SIZE(call, p, frequency_stride);
  SX_CHECK_FINITE(call, p, scale);
  return SX_CALL(*context, rope_table, p);
}

sx_status sx_rope(sx_context* context, const sx_rope_params* params) {
  SX_BEGIN(context, params, "rotate");
  SX_CHECK_POINTER(call, p, q_out);
  SX_CHECK_POINTER(call, p, qkv);
  SX_CHECK(call, p.rotary_dim == 0 || p.table != nullptr, "table must not be null", 0);
  SX_CHECK_POINTER(call, p, rows);
  SX_CHECK_FLOAT(call, p, q_dtype);
  SX_CHECK_FLOAT(call, p, cache_dtype);
  SX_CHECK_SIZE(call, p, tokens);
  SX_CHECK(call, p.q_heads >= 1 && p.q_heads <= 4096, "q_heads must be 1 to 4096", p.q_heads);
  SX_CHECK(call, p.kv_heads >= 1 && p.kv_heads <= 4096, "kv_heads must be 1 to 4096", p.kv_heads);
  SX_CHECK(call, p.out_dim >= 1 && p.out_dim <= kMaxHeadDim, "out_dim must be 1 to 256", p.out_dim);
  SX_CHECK(call, p.head_dim >= 1 && p.head_dim <= p.out_dim, "head_dim must be 1 to out_dim",
           p.head_dim);
  SX_CHECK(call, p.rotary_dim >= 0 && p.rotary_dim <= p.head_dim && p.rotary_dim % 2 == 0,
           "rotary_dim must be even, 0 to head_dim", p.rotary_dim);
  SX_CHECK_SIZE(call, p, token_stride);
  SX_CHECK_SIZE(call, p, head_stride);
  for (int64_t t = 0; kSeesMemory && t < p.tokens; t++) {
    SX_CHECK(call, p.rows[t] >= -1, "rows must be at least -1", p.rows[t]);
    SX_CHECK(call, p.rows[t] == -1 || (p.keys != nullptr && p.values != nullptr),
             "keys and values must not be null if a row is not -1", p.rows[t]);
  }
  return SX_CALL(*context, rope, p);
}

sx_status sx_head_norm(sx_context* context, const sx_head_norm_params* params) {
  SX_BEGIN(context, params, "normalize heads");
  SX_CHECK_POINTER(call, p, x);
  SX_CHECK_POINTER(call, p, weight);
  SX_CHECK_FLOAT(call, p, weight_dtype);
  SX_CHECK_SIZE(call, p, rows);
  SX_CHECK_SIZE(call, p, heads);
  SX_CHECK(call, p.dim >= 1 && p.dim <= kMaxSize, "dim must be 1 to 2^40", p.dim);
  SX_CHECK_SIZE(call, p, row_stride);
  SX_CHECK(call, p.eps >= 0, "eps must be at least 0 (shown without its fraction)", p.eps);
  return SX_CALL(*context, head_norm, p);
}

sx_status sx_add(sx_context* context, const sx_add_params* params) {
  SX_BEGIN(context, params, "add");
  SX_CHECK_POINTER(call, p, out);
  SX_CHECK_POINTER(call, p, in);
  SX_CHECK_SIZE(call, p, rows);
  SX_CHECK_SIZE(call, p, dim);
  SX_CHECK_SIZE(call, p, in_stride);
  SX_CHECK(call, p.out_stride >= p.dim && is_size(p.out_stride), "out_stride must be at least dim",
           p.out_stride);
  return SX_CALL(*context, add, p);
}

sx_status sx_swiglu(sx_context* context, const sx_swiglu_params* params) {
  SX_BEGIN(context, params, "activate");
  SX_CHECK_POINTER(call, p, out);
  SX_CHECK_POINTER(call, p, gate_up);
  SX_CHECK_FLOAT(call, p, out_dtype);
  SX_CHECK_SIZE(call, p, rows);
  SX_CHECK_SIZE(call, p, dim);
  return SX_CALL(*context, swiglu, p);
}

sx_status sx_argmax(sx_context* context, const sx_argmax_params* params) {
  SX_BEGIN(context, params, "choose");
  SX_CHECK_POINTER(call, p, out);
  SX_CHECK_POINTER(call, p, logits);
  SX_CHECK_SIZE(call, p, rows);
  SX_CHECK(call, p.count >= 1 && p.count <= INT32_MAX, "count must be 1 to 2^31 - 1", p.count);
  return SX_CALL(*context, argmax, p);
}

sx_status sx_top_k(sx_context* context, const sx_top_k_params* params) {
  SX_BEGIN(context, params, "find the largest");
  SX_CHECK_POINTER(call, p, out_ids);
  SX_CHECK_POINTER(call, p, out_values);
  SX_CHECK_POINTER(call, p, logits);
  SX_CHECK(call, p.count >= 1 && p.count <= INT32_MAX, "count must be 1 to 2^31 - 1", p.count);
  SX_CHECK(call, p.k >= 1 && p.k <= p.count, "k must be 1 to count", p.k);
  return SX_CALL(*context, top_k, p);
}
