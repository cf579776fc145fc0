/*
 * Rotary positions (RoPE, arXiv 2104.09864; see sx_rope_table and sx_rope in ../sx_kernels.h):
 * (x1, x2) -> (x1 cos - x2 sin, x2 cos + x1 sin) on the halves of the rotated part of a head; what
 * is behind it is copied, and padding is zero. Keys and values go to the cache. The angle is rounded to f32 before its sine and cosine, as Hugging Face does.
 * Bytes per token (HQ + 2*HK)*D*sizeof(qkv) read, HQ*D*sizeof(q) + 2*HK*D*sizeof(cache) written.
 */
#include <math.h>

#include "ops.h"
#include "simd.h"
#include "thread_pool.h"

namespace sx {
namespace SX_ISA {

namespace {

template <class In, class Out>
SX_INLINE void rotate(Out* out, const In* x, const float* table, int64_t half) {
  int64_t d = 0;
  for (; d + kLanes <= half; d += kLanes) {
    const Vec x1 = load(x + d), x2 = load(x + half + d);
    const Vec cosine = load(table + d), sine = load(table + half + d);
    store(out + d, fms(x1, cosine, mul(x2, sine)));
    store(out + half + d, fma(x2, cosine, mul(x1, sine)));
  }
  for (; d < half; d++) {
    const float x1 = widen(x[d]), x2 = widen(x[half + d]), cosine = table[d],
                sine = table[half + d];
    put(out + d, x1 * cosine - x2 * sine);
    put(out + half + d, x2 * cosine + x1 * sine);
  }
}

template <class In, class Out>
SX_INLINE void copy_row(Out* out, const In* in, int64_t count) {
  int64_t d = 0;
  for (; d + kLanes <= count; d += kLanes) store(out + d, load(in + d));
  for (; d < count; d++) put(out + d, widen(in[d]));
}

/* A head with its first `rotated` elements turned, and zeros behind its end. */
template <class In, class Out>
SX_INLINE void write_head(const sx_rope_params& args, Out* out, const In* x, const float* table,
                          int64_t rotated) {
  rotate(out, x, table, rotated / 2);
  copy_row(out + rotated, x + rotated, args.head_dim - rotated);
  for (int64_t d = args.head_dim; d < args.out_dim; d++) put(out + d, 0);
}

template <class In, class Q, class Cache>
void rotate_token(const sx_rope_params& args, int64_t t) {
  const int64_t dim = args.head_dim, rotated = args.rotary_dim;
  const float* table = args.table + t * rotated;
  const In* x = static_cast<const In*>(args.qkv) + t * (args.q_heads + 2 * args.kv_heads) * dim;
  Q* q = static_cast<Q*>(args.q_out) + t * args.q_heads * args.out_dim;
  for (int64_t h = 0; h < args.q_heads; h++) {
    write_head(args, q + h * args.out_dim, x + h * dim, table, rotated);
  }
  if (args.rows[t] < 0) return;
  const In* keys = x + args.q_heads * dim;
  const In* values = keys + args.kv_heads * dim;
  for (int64_t h = 0; h < args.kv_heads; h++) {
    const int64_t at = h * args.head_stride + args.rows[t] * args.token_stride;
    write_head(args, static_cast<Cache*>(args.keys) + at, keys + h * dim, table, rotated);
    write_head(args, static_cast<Cache*>(args.values) + at, values + h * dim, table, 0);
  }
}

template <class In, class Q, class Cache>
void run(Context& context, const sx_rope_params& args) {
  const int64_t bytes = (args.q_heads + 2 * args.kv_heads) * args.head_dim * 8;
  parallel_for(context, args.tokens, row_grain(bytes), [&](int64_t begin, int64_t end, int32_t) {
    for (int64_t t = begin; t < end; t++) rotate_token<In, Q, Cache>(args, t);
  });
}

template <class In>
void run_from(Context& context, const sx_rope_params& args) {
  const bool wide = args.cache_dtype == SX_F32;
  if (args.q_dtype == SX_F32) {
    wide ? run<In, float, float>(context, args) : run<In, float, bf16>(context, args);
  } else {
    wide ? run<In, bf16, float>(context, args) : run<In, bf16, bf16>(context, args);
  }
}

}  // namespace

sx_status rope_table(Context& context, const sx_rope_table_params& args) {
  const int64_t half = args.rotary_dim / 2;
  /* A sine costs as much as some 64 bytes of memory traffic. */
  parallel_for(context, args.tokens, row_grain(args.rotary_dim * 64),
               [&](int64_t begin, int64_t end, int32_t) {
                 for (int64_t t = begin; t < end; t++) {
                   float* row = args.table + t * args.rotary_dim;
                   const float* frequency = args.inverse_frequency + t * args.frequency_stride;
                   for (int64_t d = 0; d < half; d++) {
                     const float angle = static_cast<float>(args.positions[t]) * frequency[d];
                     row[d] = cosf(angle) * args.scale;
                     row[half + d] = sinf(angle) * args.scale;
                   }
                 }
               });
  return SX_OK;
}

sx_status rope(Context& context, const sx_rope_params& args) {
  args.qkv_dtype == SX_F32 ? run_from<float>(context, args) : run_from<bf16>(context, args);
  return SX_OK;
}

}  // namespace SX_ISA
}  // namespace sx
