/*
 * The exported functions of library, context and dense layers: they check every argument that can
 * be checked and call the op of the context's instruction set.
 */
#include "abi.h"

#include <cpuid.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <new>

#include "thread_pool.h"

using namespace sx;

namespace sx {

sx_status fail(Context& context, const char* action, const char* rule, long long value) {
  snprintf(context.error, sizeof context.error, "Cannot %s as %s: current value is %lld", action,
           rule, value);
  return SX_INVALID_ARGUMENT;
}

namespace {

/* Whether the processor has the matrix unit and the system lets this process use it: its state of
 * 8 KiB is saved only for processes that asked. */
bool has_tiles() {
  constexpr unsigned kTiles = 1u << 24, kBf16 = 1u << 22; /* edx of leaf 7 */
  constexpr long kRequestPermission = 0x1023, kTileData = 18;
  unsigned a, b, c, d;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return false;
  if ((d & kTiles) == 0 || (d & kBf16) == 0) return false;
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

/* Whether this machine, its system included, can run a set. */
bool has_isa(int32_t isa) {
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                    __builtin_cpu_supports("f16c");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") &&
                      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
                      __builtin_cpu_supports("avx512vl");
  const bool bf16 = avx512 && __builtin_cpu_supports("avx512bf16");
  if (isa == SX_ISA_AVX2) return avx2;
  if (isa == SX_ISA_AVX512) return avx512;
  if (isa == SX_ISA_AVX512_BF16) return bf16;
  return isa == SX_ISA_AMX_BF16 && bf16 && has_tiles();
}

const OpTable* table_of(int32_t isa) {
  if (isa == SX_ISA_SCALAR) {
#ifdef SX_WITH_SCALAR
    return &scalar::ops;
#else
    return nullptr;
#endif
  }
  if (!has_isa(isa)) return nullptr;
  if (isa == SX_ISA_AVX2) return &avx2::ops;
  if (isa == SX_ISA_AVX512) return &avx512::ops;
  return isa == SX_ISA_AVX512_BF16 ? &avx512_bf16::ops : &amx_bf16::ops;
}

/* Pairs of bf16 multiply at twice the rate of f32 on AMD's cores (Zen 4 on) and at about half of it
 * on Intel's, which leave bf16 to their matrix unit: measured 85 against 100 to 150 GFLOP/s. */
bool has_fast_bf16() {
  __builtin_cpu_init();
  return has_isa(SX_ISA_AVX512_BF16) && !__builtin_cpu_is("intel");
}

int32_t best_isa() {
  if (has_isa(SX_ISA_AMX_BF16)) return SX_ISA_AMX_BF16;
  if (has_fast_bf16()) return SX_ISA_AVX512_BF16;
  for (int32_t isa = SX_ISA_AVX512; isa >= SX_ISA_AVX2; isa--) {
    if (has_isa(isa)) return isa;
  }
  return 0;
}

const char* isa_name(int32_t isa) {
  if (isa == SX_ISA_AVX2) return "avx2";
  if (isa == SX_ISA_AVX512) return "avx512";
  if (isa == SX_ISA_AVX512_BF16) return "avx512_bf16";
  return isa == SX_ISA_AMX_BF16 ? "amx_bf16" : "";
}

}  // namespace
}  // namespace sx

uint32_t sx_abi_version(void) { return SX_ABI_VERSION; }

sx_status sx_describe(char* out, uint64_t size) {
  if (out == nullptr) return SX_INVALID_ARGUMENT;
  char names[64] = "";
  for (int32_t isa = SX_ISA_AVX2; isa <= SX_ISA_AMX_BF16; isa++) {
    if (!has_isa(isa)) continue;
    const size_t used = strlen(names);
    snprintf(names + used, sizeof names - used, "%s\"%s\"", used == 0 ? "" : ",", isa_name(isa));
  }
#ifdef SX_WITH_SCALAR
  const char* scalar = "true";
#else
  const char* scalar = "false";
#endif
  char text[256];
  const int length =
      snprintf(text, sizeof text, "{\"backend\":\"cpu\",\"isa\":[%s],\"best\":\"%s\",\"scalar\":%s}",
               names, isa_name(best_isa()), scalar);
  if (static_cast<uint64_t>(length) >= size) return SX_INVALID_ARGUMENT;
  memcpy(out, text, length + 1);
  return SX_OK;
}

sx_status sx_context_create(int32_t device, int32_t threads, int32_t isa, uint64_t stream,
                            uint64_t* out) {
  if (device != 0 || stream != 0 || out == nullptr) return SX_INVALID_ARGUMENT;
  if (threads < 1 || threads > 256) return SX_INVALID_ARGUMENT;
  if (isa < SX_ISA_AUTO || isa > SX_ISA_AMX_BF16) return SX_INVALID_ARGUMENT;
  if (isa == SX_ISA_AUTO) isa = best_isa();
  const OpTable* ops = table_of(isa);
  if (ops == nullptr) return SX_UNSUPPORTED;
  Context* context = new (std::nothrow) Context();
  if (context == nullptr) return SX_OUT_OF_MEMORY;
  context->pool = create_pool(threads);
  if (context->pool == nullptr) {
    delete context;
    return SX_OUT_OF_MEMORY;
  }
  context->ops = ops;
  context->threads = threads;
  context->isa = isa;
  *out = reinterpret_cast<uint64_t>(context);
  return SX_OK;
}

sx_status sx_context_destroy(sx_context* context) {
  SX_CHECK_CONTEXT(context);
  destroy_pool(context->pool);
  free_all(*context);
  delete context;
  return SX_OK;
}

sx_status sx_error_text(sx_context* context, char* out, uint64_t size) {
  if (context == nullptr || out == nullptr || size == 0) return SX_INVALID_ARGUMENT;
  snprintf(out, size, "%s", context->error);
  return SX_OK;
}

sx_status sx_convert(sx_context* context, void* out, const void* in, sx_dtype out_dtype,
                     sx_dtype in_dtype, int64_t count) {
  SX_CHECK_CONTEXT(context);
  SX_CHECK_POINTER(context, "convert", out);
  SX_CHECK_POINTER(context, "convert", in);
  SX_CHECK_SIZE(context, "convert", count);
  SX_CHECK(context, is_convertible(out_dtype), "convert", "out_dtype must be F32, BF16 or F16",
           out_dtype);
  SX_CHECK(context, is_convertible(in_dtype), "convert", "in_dtype must be F32, BF16 or F16",
           in_dtype);
  return context->ops->convert(*context, {out, in, out_dtype, in_dtype, count});
}

sx_status sx_embedding(sx_context* context, float* out, const void* table, const int32_t* ids,
                       sx_dtype table_dtype, int64_t tokens, int64_t dim, int64_t vocab) {
  SX_CHECK_CONTEXT(context);
  const char* action = "look up embeddings";
  SX_CHECK_POINTER(context, action, out);
  SX_CHECK_POINTER(context, action, table);
  SX_CHECK_POINTER(context, action, ids);
  SX_CHECK_SIZE(context, action, tokens);
  SX_CHECK_SIZE(context, action, dim);
  SX_CHECK_SIZE(context, action, vocab);
  SX_CHECK(context, is_float(table_dtype), action, "table_dtype must be F32 or BF16", table_dtype);
  for (int64_t t = 0; t < tokens; t++) {
    SX_CHECK(context, ids[t] >= 0 && ids[t] < vocab, action, "ids must be below vocab", ids[t]);
  }
  return context->ops->embedding(*context, {out, table, ids, table_dtype, tokens, dim});
}

sx_status sx_rms_norm(sx_context* context, void* out, float* residual, const float* delta,
                      const void* weight, sx_dtype out_dtype, sx_dtype weight_dtype, int64_t rows,
                      int64_t dim, float eps) {
  SX_CHECK_CONTEXT(context);
  const char* action = "normalize";
  SX_CHECK_POINTER(context, action, out);
  SX_CHECK_POINTER(context, action, residual);
  SX_CHECK_POINTER(context, action, weight);
  SX_CHECK(context, is_float(out_dtype), action, "out_dtype must be F32 or BF16", out_dtype);
  SX_CHECK(context, is_float(weight_dtype), action, "weight_dtype must be F32 or BF16",
           weight_dtype);
  SX_CHECK_SIZE(context, action, rows);
  SX_CHECK(context, dim >= 1 && dim <= kMaxSize, action, "dim must be 1 to 2^40", dim);
  SX_CHECK(context, eps >= 0, action, "eps must be at least 0 (shown without its fraction)", eps);
  return context->ops->rms_norm(
      *context, {out, residual, delta, weight, out_dtype, weight_dtype, rows, dim, eps});
}

sx_status sx_matmul(sx_context* context, float* out, const void* x, const void* weight,
                    sx_dtype x_dtype, sx_dtype weight_dtype, int32_t accumulate, int64_t m,
                    int64_t n, int64_t k, int64_t x_stride, int64_t out_stride) {
  SX_CHECK_CONTEXT(context);
  const char* action = "multiply";
  SX_CHECK_POINTER(context, action, out);
  SX_CHECK_POINTER(context, action, x);
  SX_CHECK_POINTER(context, action, weight);
  SX_CHECK(context, is_float(x_dtype), action, "x_dtype must be F32 or BF16", x_dtype);
  SX_CHECK(context, is_float(weight_dtype), action, "weight_dtype must be F32 or BF16",
           weight_dtype);
  if (x_dtype == SX_BF16 && weight_dtype != SX_BF16) {
    fail(*context, action, "weight_dtype must be BF16 if x_dtype is", weight_dtype);
    return SX_UNSUPPORTED;
  }
  SX_CHECK(context, accumulate == 0 || accumulate == 1, action, "accumulate must be 0 or 1",
           accumulate);
  SX_CHECK_SIZE(context, action, m);
  SX_CHECK_SIZE(context, action, n);
  SX_CHECK(context, k >= 1 && k <= kMaxSize, action, "k must be 1 to 2^40", k);
  SX_CHECK(context, x_stride >= k && is_size(x_stride), action, "x_stride must be at least k",
           x_stride);
  SX_CHECK(context, out_stride >= n && is_size(out_stride), action,
           "out_stride must be at least n", out_stride);
  return context->ops->matmul(*context, {out, x, weight, x_dtype, weight_dtype, accumulate == 1, m,
                                         n, k, x_stride, out_stride});
}

sx_status sx_rope_table(sx_context* context, float* table, const float* inverse_frequency,
                        const int32_t* positions, int64_t tokens, int64_t head_dim) {
  SX_CHECK_CONTEXT(context);
  const char* action = "make rotations";
  SX_CHECK_POINTER(context, action, table);
  SX_CHECK_POINTER(context, action, inverse_frequency);
  SX_CHECK_POINTER(context, action, positions);
  SX_CHECK_SIZE(context, action, tokens);
  SX_CHECK(context, head_dim == 64 || head_dim == 128, action, "head_dim must be 64 or 128",
           head_dim);
  return context->ops->rope_table(*context,
                                  {table, inverse_frequency, positions, tokens, head_dim});
}

sx_status sx_rope(sx_context* context, void* q_out, void* keys, void* values, const float* qkv,
                  const float* table, const int32_t* rows, sx_dtype q_dtype, sx_dtype cache_dtype,
                  int64_t tokens, int64_t q_heads, int64_t kv_heads, int64_t head_dim,
                  int64_t token_stride, int64_t head_stride) {
  SX_CHECK_CONTEXT(context);
  const char* action = "rotate";
  SX_CHECK_POINTER(context, action, q_out);
  SX_CHECK_POINTER(context, action, qkv);
  SX_CHECK_POINTER(context, action, table);
  SX_CHECK_POINTER(context, action, rows);
  SX_CHECK(context, is_float(q_dtype), action, "q_dtype must be F32 or BF16", q_dtype);
  SX_CHECK(context, is_float(cache_dtype), action, "cache_dtype must be F32 or BF16", cache_dtype);
  SX_CHECK_SIZE(context, action, tokens);
  SX_CHECK(context, q_heads >= 1 && q_heads <= 4096, action, "q_heads must be 1 to 4096", q_heads);
  SX_CHECK(context, kv_heads >= 1 && kv_heads <= 4096, action, "kv_heads must be 1 to 4096",
           kv_heads);
  SX_CHECK(context, head_dim == 64 || head_dim == 128, action, "head_dim must be 64 or 128",
           head_dim);
  SX_CHECK_SIZE(context, action, token_stride);
  SX_CHECK_SIZE(context, action, head_stride);
  for (int64_t t = 0; t < tokens; t++) {
    SX_CHECK(context, rows[t] >= -1, action, "rows must be at least -1", rows[t]);
    SX_CHECK(context, rows[t] == -1 || (keys != nullptr && values != nullptr), action,
             "keys and values must not be null if a row is not -1", rows[t]);
  }
  return context->ops->rope(*context, {q_out, keys, values, qkv, table, rows, q_dtype, cache_dtype,
                                       tokens, q_heads, kv_heads, head_dim, token_stride,
                                       head_stride});
}

sx_status sx_swiglu(sx_context* context, void* out, const float* gate_up, sx_dtype out_dtype,
                    int64_t rows, int64_t dim) {
  SX_CHECK_CONTEXT(context);
  SX_CHECK_POINTER(context, "activate", out);
  SX_CHECK_POINTER(context, "activate", gate_up);
  SX_CHECK(context, is_float(out_dtype), "activate", "out_dtype must be F32 or BF16", out_dtype);
  SX_CHECK_SIZE(context, "activate", rows);
  SX_CHECK_SIZE(context, "activate", dim);
  return context->ops->swiglu(*context, {out, gate_up, out_dtype, rows, dim});
}

sx_status sx_argmax(sx_context* context, int32_t* out, const float* logits, int64_t rows,
                    int64_t count) {
  SX_CHECK_CONTEXT(context);
  SX_CHECK_POINTER(context, "choose", out);
  SX_CHECK_POINTER(context, "choose", logits);
  SX_CHECK_SIZE(context, "choose", rows);
  SX_CHECK(context, count >= 1 && count <= INT32_MAX, "choose", "count must be 1 to 2^31 - 1",
           count);
  return context->ops->argmax(*context, {out, logits, rows, count});
}

sx_status sx_top_k(sx_context* context, int32_t* out_ids, float* out_values, const float* logits,
                   int64_t count, int64_t k) {
  SX_CHECK_CONTEXT(context);
  SX_CHECK_POINTER(context, "rank", out_ids);
  SX_CHECK_POINTER(context, "rank", out_values);
  SX_CHECK_POINTER(context, "rank", logits);
  SX_CHECK(context, count >= 1 && count <= INT32_MAX, "rank", "count must be 1 to 2^31 - 1",
           count);
  SX_CHECK(context, k >= 1 && k <= count, "rank", "k must be 1 to count", k);
  return context->ops->top_k(*context, {out_ids, out_values, logits, count, k});
}
