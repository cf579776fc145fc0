/*
 * Rows of floats rounded to 8 bits (see int8.h), in the vectors of an instruction set.
 */
#ifndef SX_CPU_INT8_ROWS_H
#define SX_CPU_INT8_ROWS_H

#include "int8.h"
#include "simd.h"

namespace sx {
namespace SX_ISA {

#ifdef __AVX512F__
using Ints = __m512i;
SX_INLINE Ints magnitude_bits(Vec v) {
  return _mm512_and_si512(_mm512_castps_si512(v), _mm512_set1_epi32(0x7fffffff));
}
SX_INLINE Ints larger_ints(Ints a, Ints b) { return _mm512_max_epu32(a, b); }
SX_INLINE uint32_t largest_int(Ints v) { return _mm512_reduce_max_epu32(v); }
SX_INLINE Ints zero_ints() { return _mm512_setzero_si512(); }
/* Rounds to nearest even, whatever the processor's mode says. */
SX_INLINE Ints round_to_ints(Vec v) {
  return _mm512_cvt_roundps_epi32(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
SX_INLINE void store_bytes(int8_t* p, Ints v) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8(v));
}
SX_INLINE void store_words(int16_t* p, Ints v) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtepi32_epi16(v));
}
SX_INLINE Ints add_ints(Ints a, Ints b) { return _mm512_add_epi32(a, b); }
SX_INLINE int32_t sum_of_ints(Ints v) { return _mm512_reduce_add_epi32(v); }
SX_INLINE Ints multiply_ints(Ints a, Ints b) { return _mm512_mullo_epi32(a, b); }
SX_INLINE Vec ints_to_floats(Ints v) { return _mm512_cvtepi32_ps(v); }
#else
using Ints = __m256i;
SX_INLINE Ints magnitude_bits(Vec v) {
  return _mm256_and_si256(_mm256_castps_si256(v), _mm256_set1_epi32(0x7fffffff));
}
SX_INLINE Ints larger_ints(Ints a, Ints b) { return _mm256_max_epu32(a, b); }
SX_INLINE uint32_t largest_int(Ints v) {
  __m128i half = _mm_max_epu32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
  half = _mm_max_epu32(half, _mm_shuffle_epi32(half, 0x4e));
  half = _mm_max_epu32(half, _mm_shuffle_epi32(half, 0xb1));
  return static_cast<uint32_t>(_mm_cvtsi128_si32(half));
}
SX_INLINE Ints zero_ints() { return _mm256_setzero_si256(); }
/* Rounds to nearest even, whatever the processor's mode says. */
SX_INLINE Ints round_to_ints(Vec v) {
  return _mm256_cvttps_epi32(_mm256_round_ps(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
SX_INLINE __m128i words_of(Ints v) {
  return _mm_packs_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
}
SX_INLINE void store_words(int16_t* p, Ints v) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), words_of(v));
}
SX_INLINE void store_bytes(int8_t* p, Ints v) {
  const __m128i words = words_of(v);
  _mm_storel_epi64(reinterpret_cast<__m128i*>(p), _mm_packs_epi16(words, words));
}
SX_INLINE Ints add_ints(Ints a, Ints b) { return _mm256_add_epi32(a, b); }
SX_INLINE Ints multiply_ints(Ints a, Ints b) { return _mm256_mullo_epi32(a, b); }
SX_INLINE Vec ints_to_floats(Ints v) { return _mm256_cvtepi32_ps(v); }
SX_INLINE int32_t sum_of_ints(Ints v) {
  __m128i half = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
  half = _mm_add_epi32(half, _mm_shuffle_epi32(half, 0x4e));
  half = _mm_add_epi32(half, _mm_shuffle_epi32(half, 0xb1));
  return _mm_cvtsi128_si32(half);
}
#endif

SX_INLINE void store_ints(int8_t* p, Ints v) { store_bytes(p, v); }
SX_INLINE void store_ints(int16_t* p, Ints v) { store_words(p, v); }
SX_INLINE float to_float(float x) { return x; }
SX_INLINE float to_float(bf16 x) { return widen(x); }
SX_INLINE float to_float(f16 x) { return _cvtsh_ss(x.bits); }

template <class In>
SX_INLINE RowScale scale_of_row(const In* row, int64_t k) {
  Ints largest = zero_ints();
  int64_t l = 0;
  for (; l + kLanes <= k; l += kLanes)
    largest = larger_ints(largest, magnitude_bits(load(row + l)));
  uint32_t bits = largest_int(largest);
  for (; l < k; l++) {
    const uint32_t own = float_bits(to_float(row[l])) & 0x7fffffffu;
    bits = own > bits ? own : bits;
  }
  return row_scale(bits);
}

/* Of the numbers of a row, or of its second digits. */
struct DigitSums {
  int32_t sum, squares;
};

/* What x * inverse is rounded to; kSecond: what that leaves, in steps of the second digit. */
template <bool kSecond>
SX_INLINE Ints digits_of(Vec x, Vec inverse) {
  const Ints first = round_to_ints(mul(x, inverse));
  if constexpr (!kSecond) return first;
  const Vec left = fms(x, inverse, ints_to_floats(first));
  return round_to_ints(mul(left, broadcast(kDigit)));
}

/* Rounds `count` numbers to their first digits, or to their second ones. */
template <bool kSecond, class In, class Out>
SX_INLINE DigitSums quantize_numbers(Out* out, const In* in, int64_t count, RowScale scale) {
  /* What is not finite must not meet 0: such a row has zeros. */
  if (scale.inverse == 0) {
    __builtin_memset(out, 0, static_cast<size_t>(count) * sizeof(Out));
    return {0, 0};
  }
  const Vec inverse = broadcast(scale.inverse);
  Ints sums = zero_ints(), squares = zero_ints();
  int64_t l = 0;
  for (; l + kLanes <= count; l += kLanes) {
    const Ints q = digits_of<kSecond>(load(in + l), inverse);
    sums = add_ints(sums, q);
    squares = add_ints(squares, multiply_ints(q, q));
    store_ints(out + l, q);
  }
  if (l < count) {
    float rest[kLanes] = {};
    for (int64_t i = l; i < count; i++) rest[i - l] = to_float(in[i]);
    const Ints q = digits_of<kSecond>(load(rest), inverse);
    sums = add_ints(sums, q);
    squares = add_ints(squares, multiply_ints(q, q));
    Out numbers[kLanes];
    store_ints(numbers, q);
    for (int64_t i = l; i < count; i++) out[i] = numbers[i - l];
  }
  return {sum_of_ints(sums), sum_of_ints(squares)};
}

}  // namespace SX_ISA
}  // namespace sx

#endif
