/*
 * The vector type of the instruction set that a file is compiled for, and the few operations that
 * the kernels are written in: 8 lanes of f32 with AVX2, 16 with AVX-512.
 */
#ifndef SX_CPU_SIMD_H
#define SX_CPU_SIMD_H

#include <immintrin.h>

#include "common.h"

/* Cores with a matrix unit multiply bf16 by that alone: pairs would be slower than f32. */
#if defined(__AVX512BF16__) && !defined(__AMX_BF16__)
#define SX_HAS_PAIRS 1
#endif

namespace sx {
namespace SX_ISA {

#ifdef __AVX512F__
using Vec = __m512;
constexpr int kLanes = 16;
SX_INLINE Vec zero() { return _mm512_setzero_ps(); }
SX_INLINE Vec broadcast(float x) { return _mm512_set1_ps(x); }
SX_INLINE Vec load(const float* p) { return _mm512_loadu_ps(p); }
SX_INLINE Vec load(const bf16* p) {
  const __m256i bits = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16));
}
SX_INLINE Vec load(const f16* p) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
SX_INLINE void store(float* p, Vec v) { _mm512_storeu_ps(p, v); }
/* Past the caches (see streamed.h); p must be aligned to the vector. */
SX_INLINE void stream(float* p, Vec v) { _mm512_stream_ps(p, v); }
SX_INLINE void store_f16(f16* p, Vec v) {
  const __m256i bits = _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), bits);
}
SX_INLINE Vec add(Vec a, Vec b) { return _mm512_add_ps(a, b); }
SX_INLINE Vec sub(Vec a, Vec b) { return _mm512_sub_ps(a, b); }
SX_INLINE Vec mul(Vec a, Vec b) { return _mm512_mul_ps(a, b); }
SX_INLINE Vec div(Vec a, Vec b) { return _mm512_div_ps(a, b); }
SX_INLINE Vec max(Vec a, Vec b) { return _mm512_max_ps(a, b); }
SX_INLINE Vec min(Vec a, Vec b) { return _mm512_min_ps(a, b); }
/* a * b + c, rounded once. */
SX_INLINE Vec fma(Vec a, Vec b, Vec c) { return _mm512_fmadd_ps(a, b, c); }
/* a * b - c, rounded once. */
SX_INLINE Vec fms(Vec a, Vec b, Vec c) { return _mm512_fmsub_ps(a, b, c); }
SX_INLINE float reduce_add(Vec v) { return _mm512_reduce_add_ps(v); }
SX_INLINE float reduce_max(Vec v) { return _mm512_reduce_max_ps(v); }
#else
using Vec = __m256;
constexpr int kLanes = 8;
SX_INLINE Vec zero() { return _mm256_setzero_ps(); }
SX_INLINE Vec broadcast(float x) { return _mm256_set1_ps(x); }
SX_INLINE Vec load(const float* p) { return _mm256_loadu_ps(p); }
SX_INLINE Vec load(const bf16* p) {
  const __m128i bits = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
}
SX_INLINE Vec load(const f16* p) {
  return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
SX_INLINE void store(float* p, Vec v) { _mm256_storeu_ps(p, v); }
SX_INLINE void stream(float* p, Vec v) { _mm256_stream_ps(p, v); }
SX_INLINE void store_f16(f16* p, Vec v) {
  const __m128i bits = _mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), bits);
}
SX_INLINE Vec add(Vec a, Vec b) { return _mm256_add_ps(a, b); }
SX_INLINE Vec sub(Vec a, Vec b) { return _mm256_sub_ps(a, b); }
SX_INLINE Vec mul(Vec a, Vec b) { return _mm256_mul_ps(a, b); }
SX_INLINE Vec div(Vec a, Vec b) { return _mm256_div_ps(a, b); }
SX_INLINE Vec max(Vec a, Vec b) { return _mm256_max_ps(a, b); }
SX_INLINE Vec min(Vec a, Vec b) { return _mm256_min_ps(a, b); }
SX_INLINE Vec fma(Vec a, Vec b, Vec c) { return _mm256_fmadd_ps(a, b, c); }
SX_INLINE Vec fms(Vec a, Vec b, Vec c) { return _mm256_fmsub_ps(a, b, c); }
SX_INLINE float reduce_add(Vec v) {
  __m128 half = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  half = _mm_add_ps(half, _mm_movehl_ps(half, half));
  return _mm_cvtss_f32(_mm_add_ss(half, _mm_movehdup_ps(half)));
}
SX_INLINE float reduce_max(Vec v) {
  __m128 half = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  half = _mm_max_ps(half, _mm_movehl_ps(half, half));
  return _mm_cvtss_f32(_mm_max_ss(half, _mm_movehdup_ps(half)));
}
#endif

SX_INLINE float larger(float a, float b) { return a > b ? a : b; }

/* Rounds to nearest even; a NaN stays a NaN. */
SX_INLINE void store_bf16(bf16* p, Vec v) {
#if defined(__AVX512F__)
  const __m512i bits = _mm512_castps_si512(v);
  const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
  __m512i sum = _mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(0x7fff)), odd);
  const __mmask16 nan = _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q);
  sum = _mm512_mask_or_epi32(sum, nan, bits, _mm512_set1_epi32(0x400000));
  const __m256i half = _mm512_cvtepi32_epi16(_mm512_srli_epi32(sum, 16));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), half);
#else
  const __m256i bits = _mm256_castps_si256(v);
  const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
  const __m256i sum = _mm256_add_epi32(_mm256_add_epi32(bits, _mm256_set1_epi32(0x7fff)), odd);
  const __m256i quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x400000));
  const __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(v, v, _CMP_UNORD_Q));
  const __m256i high = _mm256_srli_epi32(_mm256_blendv_epi8(sum, quiet, nan), 16);
  const __m128i half =
      _mm_packus_epi32(_mm256_castsi256_si128(high), _mm256_extracti128_si256(high, 1));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), half);
#endif
}
SX_INLINE void store(bf16* p, Vec v) { store_bf16(p, v); }
SX_INLINE void store(f16* p, Vec v) { store_f16(p, v); }

/* 2^x within 2 ulp; 0 for x <= -126 (-inf included), 2^127 at most; NaN stays NaN.
 * 2^x = 2^n * 2^f, n = round(x), f in [-1/2, 1/2]: Taylor's series of 2^f to degree 7, its
 * remainder being below 6e-9. */
SX_INLINE Vec exp2(Vec x) {
  constexpr float c1 = 6.93147180e-1f, c2 = 2.40226507e-1f, c3 = 5.55041087e-2f,
                  c4 = 9.61812911e-3f, c5 = 1.33335581e-3f, c6 = 1.54035304e-4f,
                  c7 = 1.52527338e-5f;
  const Vec top = min(broadcast(127.0f), x);
#ifdef __AVX512F__
  const Vec n = _mm512_roundscale_ps(top, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
#else
  const Vec n = _mm256_round_ps(top, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
#endif
  const Vec f = sub(top, n);
  Vec y = fma(broadcast(c7), f, broadcast(c6));
  y = fma(y, f, broadcast(c5));
  y = fma(y, f, broadcast(c4));
  y = fma(y, f, broadcast(c3));
  y = fma(y, f, broadcast(c2));
  y = fma(y, f, broadcast(c1));
  y = fma(y, f, broadcast(1.0f));
#ifdef __AVX512F__
  const __mmask16 tiny = _mm512_cmp_ps_mask(x, broadcast(-126.0f), _CMP_LE_OQ);
  return _mm512_mask_mov_ps(_mm512_scalef_ps(y, n), tiny, zero());
#else
  const __m256i scale = _mm256_slli_epi32(_mm256_cvtps_epi32(n), 23);
  const Vec scaled = _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(y), scale));
  const Vec tiny = _mm256_cmp_ps(x, broadcast(-126.0f), _CMP_LE_OQ);
  const Vec nan = _mm256_cmp_ps(x, x, _CMP_UNORD_Q);
  return _mm256_blendv_ps(_mm256_andnot_ps(tiny, scaled), x, nan);
#endif
}

/* Elements of a vector pair. */
constexpr int64_t kPair = 2 * kLanes;

/* The elements of a row from p on as two vectors: halves of f32, even and odd ones of bf16. bf16 is
 * widened without a shuffle, as a 32-bit lane holds an even and an odd element. */
SX_INLINE void load_pair(const float* p, Vec& first, Vec& second) {
  first = load(p);
  second = load(p + kLanes);
}
SX_INLINE void load_pair(const bf16* p, Vec& even, Vec& odd) {
#if defined(__AVX512F__)
  const __m512i bits = _mm512_loadu_si512(p);
  even = _mm512_castsi512_ps(_mm512_slli_epi32(bits, 16));
  odd = _mm512_castsi512_ps(_mm512_and_si512(bits, _mm512_set1_epi32(-65536)));
#else
  const __m256i bits = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  even = _mm256_castsi256_ps(_mm256_slli_epi32(bits, 16));
  odd = _mm256_castsi256_ps(_mm256_and_si256(bits, _mm256_set1_epi32(-65536)));
#endif
}

/* Asks for a cache line that will be read soon, into all caches or into L2 and beyond. */
SX_INLINE void prefetch(const void* p) { _mm_prefetch(static_cast<const char*>(p), _MM_HINT_T0); }
SX_INLINE void prefetch_l2(const void* p) {
  _mm_prefetch(static_cast<const char*>(p), _MM_HINT_T1);
}

}  // namespace SX_ISA
}  // namespace sx

#endif
