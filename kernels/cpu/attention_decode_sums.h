/*
 * The two products of attention_decode.h: some rows of queries by keys, and their weights by values, as
 * they lie in the cache. Rows of bf16 are widened without a shuffle, or multiplied as pairs where the
 * processor does that fast; what is read next is asked for meanwhile.
 */
#ifndef SX_CPU_ATTENTION_DECODE_SUMS_H
#define SX_CPU_ATTENTION_DECODE_SUMS_H

#include <immintrin.h>

#include <type_traits>

#include "attention_pairs.h"
#include "attention_tile.h"
#include "kv_codes.h"

namespace sx {
namespace SX_ISA {

/* Rows whose sums fit the registers beside four keys: 3 x 4 of 16, 6 x 4 of 32. */
constexpr int kRegisterRows = kLanes == 8 ? 3 : 6;
/* Keys per tile: with D = 128 in f32 its values are 128 KiB, which L2 holds from logits to sums. */
constexpr int64_t kTile = 256;

/* bf16 in the order of its elements: the means of keys of 8 bits. */
struct ordered_bf16 {
  bf16 value;
};
SX_INLINE void load_pair(const ordered_bf16* p, Vec& first, Vec& second) {
  first = load(reinterpret_cast<const bf16*>(p));
  second = load(reinterpret_cast<const bf16*>(p) + kLanes);
}

/* Whether rows of this kind are multiplied as pairs of bf16 (attention_pairs.h): queries and weights are
 * rounded to bf16, and nothing is widened. */
#ifdef SX_HAS_PAIRS
template <class Key>
constexpr bool kHasPairs = std::is_same<Key, bf16>::value;
#else
template <class Key>
constexpr bool kHasPairs = false;
#endif

/* Where element d of a row lies in the order of load_pair, and of sums over pairs of values. */
template <class Key>
SX_INLINE int64_t place(const Key*, int64_t d) {
  return d;
}
SX_INLINE int64_t place(const bf16*, int64_t d) {
  if constexpr (kHasPairs<bf16>) {
    return d / kPair * kPair + d % 8 / 4 * kLanes + d % kPair / 8 * 4 + d % 4;
  }
  return d / kPair * kPair + d % 2 * kLanes + d % kPair / 2;
}

/* The sums of four vectors. */
SX_INLINE __m128 reduce_four(Vec a, Vec b, Vec c, Vec d) {
#if defined(__AVX512F__)
  const auto half = [](Vec v) {
    return _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
  };
  const __m256 ab = _mm256_hadd_ps(half(a), half(b)), cd = _mm256_hadd_ps(half(c), half(d));
#else
  const __m256 ab = _mm256_hadd_ps(a, b), cd = _mm256_hadd_ps(c, d);
#endif
  const __m256 sums = _mm256_hadd_ps(ab, cd);
  return _mm_add_ps(_mm256_castps256_ps128(sums), _mm256_extractf128_ps(sums, 1));
}

/* Lines that are asked for with each vector of softmax weights, where pairs leave the sums less time to
 * fetch and elsewhere, and with each step of the sums. One core of an EPYC (Zen 4), 8,192 keys of head size
 * 64, four rows, us: 760 with these in pairs (1 and 2: 840, 2 and 2: 860, 6 and 1: 920, 4 and 4: 910), 870 in
 * f32 (0 and 2: the same, 4 and 2: 1,010, 4 and 1: 1,040, 4 and 4: 1,180). */
constexpr int64_t kPairLines = 4, kLines = 1, kSumLines = 2;

/* One or two rows are computed so fast with AVX-512 that the processor's own prefetching does better: on
 * the same core one row takes 640 us in place of 790. */
template <int R>
constexpr bool kAsksAhead = R > (kLanes == 8 ? 0 : 2);

/* Memory that is read next, asked for line by line while something else is computed: the values of a
 * tile during its logits, the keys of the next tile during softmax and sums. Asking some rows ahead within
 * a loop ends with each tile and leaves memory idle in between: that took 1,090 us (f32) in place of 870. */
class Ahead {
 public:
  Ahead() : at_(nullptr), lines_(0) {}
  /* So many rows, which lie one behind the other. */
  template <class Key>
  Ahead(const Key* rows, int64_t count, int64_t width)
      : at_(reinterpret_cast<const char*>(rows)),
        lines_(rows == nullptr ? 0 : ceil_div(count * width * int64_t{sizeof(Key)}, 64)) {}

  SX_INLINE_METHOD void ask(int64_t lines) {
    for (; lines > 0 && lines_ > 0; lines--, lines_--, at_ += 64) prefetch_l2(at_);
  }

 private:
  const char* at_;
  int64_t lines_;
};

/* sums[r][i] += q[r] . key[i] of kPair elements from d on. */
template <class Key, int D, int R>
SX_INLINE void add_products(const float* q, const Key* const (&key)[4], int64_t d,
                            Vec (&sums)[R][4]) {
#pragma GCC unroll 4
  for (int i = 0; i < 4; i++) {
#ifdef SX_HAS_PAIRS
    if constexpr (kHasPairs<Key>) {
      const __m512 pairs = _mm512_loadu_ps(key[i] + d);
#pragma GCC unroll 8
      for (int r = 0; r < R; r++) {
        sums[r][i] = multiply_pairs(sums[r][i], load(q + r * (D / 2) + d / 2), pairs);
      }
      continue;
    }
#endif
    Vec first, second;
    load_pair(key[i] + d, first, second);
#pragma GCC unroll 8
    for (int r = 0; r < R; r++) {
      sums[r][i] = fma(load(q + r * D + d), first, sums[r][i]);
      sums[r][i] = fma(load(q + r * D + d + kLanes), second, sums[r][i]);
    }
  }
}

/* Not static, unlike other functions of headers, so that both ops share what is made of them: the
 * namespace is the instruction set's.
 *
 * logits[r][0..count) = q[r] . k of `count` keys, in fours; those past the last key repeat it. `values`:
 * of these keys, which are asked for. */
template <class Key, int D, int R>
void multiply_keys(const float* q, const Key* keys, int64_t stride, int64_t count,
                   const Key* values, float* logits) {
  for (int64_t n = 0; n < count; n += 4) {
    const Key* key[4];
    for (int i = 0; i < 4; i++) key[i] = keys + min64(n + i, count - 1) * stride;
    Vec sums[R][4];
#pragma GCC unroll 8
    for (int r = 0; r < R; r++) sums[r][0] = sums[r][1] = sums[r][2] = sums[r][3] = zero();
    for (int64_t d = 0; d < D; d += kPair) {
      if (kAsksAhead<R> && d * int64_t{sizeof(Key)} % 64 == 0) {
        for (int i = 0; i < 4; i++) prefetch_l2(values + (n + i) * stride + d);
      }
      add_products<Key, D, R>(q, key, d, sums);
    }
#pragma GCC unroll 8
    for (int r = 0; r < R; r++) {
      _mm_storeu_ps(logits + r * kTile + n,
                    reduce_four(sums[r][0], sums[r][1], sums[r][2], sums[r][3]));
    }
  }
}

/* sums[r] += weights[r][key] * values[key] of 2 * kPair elements, in load_pair's order. */
template <class Key, int R>
SX_INLINE void add_values_at(const float* weights, const Key* values, int64_t stride, int64_t count,
                             Ahead& ahead, Vec (&sums)[R][4]) {
  for (int64_t n = 0; n < count; n++) {
    if (kAsksAhead<R>) ahead.ask(kSumLines);
#pragma GCC unroll 2
    for (int i = 0; i < 4; i += 2) {
      Vec first, second;
      load_pair(values + n * stride + i * kLanes, first, second);
#pragma GCC unroll 8
      for (int r = 0; r < R; r++) {
        const Vec weight = broadcast(weights[r * kTile + n]);
        sums[r][i] = fma(weight, first, sums[r][i]);
        sums[r][i + 1] = fma(weight, second, sums[r][i + 1]);
      }
    }
  }
}

#ifdef SX_HAS_PAIRS
/* The weights of R rows in bf16, a zero behind an odd number of them. */
template <int R>
SX_INLINE void narrow_weights(const float* weights, int64_t count, bf16* out) {
  for (int r = 0; r < R; r++) {
    for (int64_t k = 0; k < count; k += kLanes) {
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + r * kTile + k),
                          (__m256i)_mm512_cvtneps_pbh(load(weights + r * kTile + k)));
    }
    if (count % 2 != 0) out[r * kTile + count] = bf16{0};
  }
}

/* The same of two keys at once, whose values are interleaved; behind an odd number of them there are
 * zeros. weights: of narrow_weights. */
template <int R>
SX_INLINE void add_value_pairs_at(const bf16* weights, const bf16* values, int64_t stride,
                                  int64_t count, Ahead& ahead, Vec (&sums)[R][4]) {
  for (int64_t n = 0; n < count; n += 2) {
    if (kAsksAhead<R>) ahead.ask(kSumLines);
#pragma GCC unroll 2
    for (int i = 0; i < 4; i += 2) {
      const bf16* row = values + n * stride + i * kLanes;
      const __m512i even = _mm512_loadu_si512(row);
      const __m512i odd = n + 1 < count ? _mm512_loadu_si512(row + stride) : _mm512_setzero_si512();
      const Vec low = _mm512_castsi512_ps(_mm512_unpacklo_epi16(even, odd));
      const Vec high = _mm512_castsi512_ps(_mm512_unpackhi_epi16(even, odd));
#pragma GCC unroll 8
      for (int r = 0; r < R; r++) {
        int32_t pair;
        __builtin_memcpy(&pair, weights + r * kTile + n, sizeof pair);
        const Vec weight = _mm512_castsi512_ps(_mm512_set1_epi32(pair));
        sums[r][i] = multiply_pairs(sums[r][i], weight, low);
        sums[r][i + 1] = multiply_pairs(sums[r][i + 1], weight, high);
      }
    }
  }
}
#endif

/* out[r] = out[r] * alpha[r] + sum over `count` keys of weights[r][key] * values[key]. */
template <class Key, int D, int R>
void multiply_values(const float* weights, const float* alpha, const Key* values, int64_t stride,
                     int64_t count, Ahead& ahead, float* out) {
#ifdef SX_HAS_PAIRS
  alignas(64) bf16 narrow[kHasPairs<Key> ? R * kTile + kLanes : 1];
  if constexpr (kHasPairs<Key>) narrow_weights<R>(weights, count, narrow);
#endif
  for (int64_t d = 0; d < D; d += 2 * kPair) {
    Vec sums[R][4];
#pragma GCC unroll 8
    for (int r = 0; r < R; r++) {
#pragma GCC unroll 4
      for (int i = 0; i < 4; i++) {
        sums[r][i] = mul(load(out + r * D + d + i * kLanes), broadcast(alpha[r]));
      }
    }
#ifdef SX_HAS_PAIRS
    if constexpr (kHasPairs<Key>) {
      add_value_pairs_at<R>(narrow, values + d, stride, count, ahead, sums);
    } else {
      add_values_at<Key, R>(weights, values + d, stride, count, ahead, sums);
    }
#else
    add_values_at<Key, R>(weights, values + d, stride, count, ahead, sums);
#endif
#pragma GCC unroll 8
    for (int r = 0; r < R; r++) {
#pragma GCC unroll 4
      for (int i = 0; i < 4; i++) store(out + r * D + d + i * kLanes, sums[r][i]);
    }
  }
}

}  // namespace SX_ISA
}  // namespace sx

#endif
