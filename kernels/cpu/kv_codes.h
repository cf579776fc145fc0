/*
 * Keys and values of 8 bits as vectors of f32.
 */
#ifndef SX_CPU_KV_CODES_H
#define SX_CPU_KV_CODES_H

#include "simd.h"

namespace sx {
namespace SX_ISA {

/* A whole number, and a code of e4m3. */
struct i8 {
  int8_t bits;
};
struct f8 {
  uint8_t bits;
};

/* kPair whole numbers, in their order. */
SX_INLINE void load_codes(const i8* p, Vec& first, Vec& second) {
#if defined(__AVX512F__)
  const __m256i bytes = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  first = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm256_castsi256_si128(bytes)));
  second = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm256_extracti128_si256(bytes, 1)));
#else
  const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  first = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes));
  second = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_srli_si128(bytes, 8)));
#endif
}

/* kPair codes of e4m3 times 2^-8: with exponent and mantissa where f16 has them, whose exponent has a
 * bias of 8 more. Exact, subnormal numbers included; there is no code of NaN among keys and values. */
SX_INLINE void load_small_codes(const f8* p, Vec& first, Vec& second) {
#if defined(__AVX512F__)
  const __m256i bytes = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  const __m512i wide = _mm512_slli_epi16(_mm512_cvtepi8_epi16(bytes), 7);
  const __m512i halves = _mm512_and_si512(wide, _mm512_set1_epi16(static_cast<int16_t>(0xbf80)));
  first = _mm512_cvtph_ps(_mm512_castsi512_si256(halves));
  second = _mm512_cvtph_ps(_mm512_extracti64x4_epi64(halves, 1));
#else
  const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  const __m256i wide = _mm256_slli_epi16(_mm256_cvtepi8_epi16(bytes), 7);
  const __m256i halves = _mm256_and_si256(wide, _mm256_set1_epi16(static_cast<int16_t>(0xbf80)));
  first = _mm256_cvtph_ps(_mm256_castsi256_si128(halves));
  second = _mm256_cvtph_ps(_mm256_extracti128_si256(halves, 1));
#endif
}
SX_INLINE void load_codes(const f8* p, Vec& first, Vec& second) {
  load_small_codes(p, first, second);
  first = mul(first, broadcast(256.0f));
  second = mul(second, broadcast(256.0f));
}

/* The same for sums of products, whose scale brings the factor in. */
SX_INLINE void load_pair(const i8* p, Vec& first, Vec& second) { load_codes(p, first, second); }
SX_INLINE void load_pair(const f8* p, Vec& first, Vec& second) {
  load_small_codes(p, first, second);
}

}  // namespace SX_ISA
}  // namespace sx

#endif
