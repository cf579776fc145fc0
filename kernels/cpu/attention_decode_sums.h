/*
 * The two products of attention_decode.h: some rows of queries by keys, and their weights by values, as
 * they lie in the cache. Rows of bf16 are widened without a shuffle; what is read next is asked for
 * meanwhile. Multiplied as pairs of bf16 (attention_pairs.h) they took 750 us in place of 870 on one core of
 * an EPYC (Zen 4; 8,192 keys of head size 64, four rows), but weights that are rounded to bf16 make results
 * depend on how ranks share the keys: logits of a small model differed by 0.01 between one rank and eight,
 * where without they are equal.
 */
#ifndef SX_CPU_ATTENTION_DECODE_SUMS_H
#define SX_CPU_ATTENTION_DECODE_SUMS_H

#include <immintrin.h>

#include <type_traits>

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

/* Where element d of a row lies in the order of load_pair. */
template <class Key>
SX_INLINE int64_t place(const Key*, int64_t d) {
  return d;
}
SX_INLINE int64_t place(const bf16*, int64_t d) {
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

/* Lines that are asked for with each vector of softmax weights, and with each step of the sums. One core of
 * an EPYC (Zen 4), 8,192 keys of head size 64, four rows: 870 us with these (0 and 2: the same, 4 and 2:
 * 1,010, 4 and 1: 1,040, 4 and 4: 1,180). */
constexpr int64_t kWeightLines = 1, kSumLines = 2;

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

/* out[r] = out[r] * alpha[r] + sum over `count` keys of weights[r][key] * values[key]. */
template <class Key, int D, int R>
void multiply_values(const float* weights, const float* alpha, const Key* values, int64_t stride,
                     int64_t count, Ahead& ahead, float* out) {
  for (int64_t d = 0; d < D; d += 2 * kPair) {
    Vec sums[R][4];
#pragma GCC unroll 8
    for (int r = 0; r < R; r++) {
#pragma GCC unroll 4
      for (int i = 0; i < 4; i++) {
        sums[r][i] = mul(load(out + r * D + d + i * kLanes), broadcast(alpha[r]));
      }
    }
    add_values_at<Key, R>(weights, values + d, stride, count, ahead, sums);
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
