/*
 * Keys and values rounded to 8 bits into rows of a cache, each row of a head with a scale of its own (see
 * sx_kv_store in ../sx_attention.h): scale = c / top, code[d] = x[d] * (top / c), c being the largest size
 * in the row and top 127 or 448.
 *
 * A token's rows per thread at a time. Bytes 2*T*HK*D*(sizeof(in) + 1).
 */
#include "e4m3.h"
#include "ops.h"
#include "row_scale.h"
#include "simd.h"
#include "thread_pool.h"

namespace sx {
namespace SX_ISA {

namespace {

/* The longest row. */
constexpr int64_t kMostColumns = 128;

/* codes[0..dim) = values * factor, rounded to nearest even; at most 127 in size. */
void narrow_i8(uint8_t* codes, const float* values, float factor, int64_t dim) {
  alignas(64) int32_t numbers[kMostColumns];
  for (int64_t d = 0; d < dim; d += kLanes) {
    const Vec value = mul(load(values + d), broadcast(factor));
#if defined(__AVX512F__)
    _mm512_store_si512(numbers + d, _mm512_cvtps_epi32(value));
#else
    _mm256_store_si256(reinterpret_cast<__m256i*>(numbers + d), _mm256_cvtps_epi32(value));
#endif
  }
  for (int64_t d = 0; d < dim; d++) codes[d] = static_cast<uint8_t>(numbers[d]);
}

template <bool kIsInt8, class In>
void store_row(uint8_t* codes, float* scale, const In* row, int64_t dim) {
  constexpr float top = kIsInt8 ? 127.0f : kE4m3Max;
  float values[kMostColumns];
  for (int64_t d = 0; d < dim; d += kLanes) store(values + d, load(row + d));
  float factor;
  if (!scale_row(largest_size(values, dim, 0), top, scale, factor)) {
    __builtin_memset(codes, 0, static_cast<size_t>(dim));
    return;
  }
  if (kIsInt8) return narrow_i8(codes, values, factor, dim);
  for (int64_t d = 0; d < dim; d++) codes[d] = narrow_e4m3(values[d] * factor);
}

template <bool kIsInt8, class In>
void store_token(const sx_kv_store_params& args, int64_t t) {
  const int64_t row = args.rows[t];
  if (row < 0) return;
  for (int64_t g = 0; g < args.kv_heads; g++) {
    const int64_t from = g * args.in_head_stride + t * args.in_token_stride;
    const int64_t to = g * args.head_stride + row * args.token_stride;
    const int64_t scale = g * args.scale_head_stride + row;
    store_row<kIsInt8>(static_cast<uint8_t*>(args.keys) + to, args.key_scales + scale,
                       static_cast<const In*>(args.in_keys) + from, args.head_dim);
    store_row<kIsInt8>(static_cast<uint8_t*>(args.values) + to, args.value_scales + scale,
                       static_cast<const In*>(args.in_values) + from, args.head_dim);
  }
}

template <bool kIsInt8, class In>
void run(Context& context, const sx_kv_store_params& args) {
  const int64_t bytes = 16 * args.kv_heads * args.head_dim;
  parallel_for(context, args.tokens, row_grain(bytes), [&](int64_t begin, int64_t end, int32_t) {
    for (int64_t t = begin; t < end; t++) store_token<kIsInt8, In>(args, t);
  });
}

}  // namespace

sx_status kv_store(Context& context, const sx_kv_store_params& args) {
  if (args.kv_dtype == SX_I8) {
    args.in_dtype == SX_F32 ? run<true, float>(context, args) : run<true, bf16>(context, args);
  } else {
    args.in_dtype == SX_F32 ? run<false, float>(context, args) : run<false, bf16>(context, args);
  }
  return SX_OK;
}

}  // namespace SX_ISA
}  // namespace sx
