/*
 * How the products of few rows (matmul_rows.cpp) read weights and multiply them: by pairs of bf16, or in f32.
 */
#ifndef SX_CPU_MATMUL_ROWS_DOTS_H
#define SX_CPU_MATMUL_ROWS_DOTS_H

#include "ops.h"
#include "simd.h"

namespace sx {
namespace SX_ISA {

constexpr int64_t kLine = 64; /* bytes */

/* Whether rows of weights can be read by whole lines of the cache although none begins with one, as a
 * file puts its matrices where the one before ends: then vectors are cut out of two lines. A vector that
 * lies across two lines takes as long as two, and waits for both. No byte is read of a line that holds
 * none of the row. */
#ifdef __AVX512F__
static inline bool cuts_lines(const sx_matmul_params& args) {
  const uintptr_t off = reinterpret_cast<uintptr_t>(args.weight) % kLine;
  return args.k * 2 % kLine == 0 && off != 0 && off % 4 == 0;
}

/* C rows of weights of 16 bits, cut out of their lines. */
template <int C>
class Lines {
 public:
  SX_INLINE_METHOD Lines(const void* weight, int64_t row_bytes) : row_bytes_(row_bytes) {
    const int off = static_cast<int>(reinterpret_cast<uintptr_t>(weight) % kLine);
    const __m512i steps = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    index_ = _mm512_add_epi32(steps, _mm512_set1_epi32(off / 4));
    first_ = static_cast<const char*>(weight) - off;
#pragma GCC unroll 4
    for (int c = 0; c < C; c++) lines_[c] = _mm512_load_si512(first_ + c * row_bytes_);
  }
  /* 64 bytes of row c from `byte` on; byte after byte. */
  SX_INLINE_METHOD __m512i next(int c, int64_t byte) {
    const __m512i line = _mm512_load_si512(first_ + c * row_bytes_ + byte + kLine);
    const __m512i cut = _mm512_permutex2var_epi32(lines_[c], index_, line);
    lines_[c] = line;
    return cut;
  }

 private:
  __m512i lines_[C], index_;
  const char* first_;
  int64_t row_bytes_;
};
#else
template <int C>
class Lines {};
#endif
/* Where rows are read as they lie. */
struct NoLines {
  SX_INLINE_METHOD NoLines(const void*, int64_t) {}
};

/* Sums of f32 products. In: x as the caller has it.
 * Discarded: widening bf16 by load_pair, whose whole vectors lie across two lines of a cache wherever
 * a file does not align its weights: 5.0 instead of 2.9 ms for 8 rows, on a Zen 5. */
template <class In, class W>
struct WideDots {
  using Source = In;
  using X = float; /* as packed */
  using Weight = W;
  /* Rows and columns whose sums fit the registers beside what they are made of. */
  static constexpr int kRows = 4;
  static constexpr int kColumns = 3;
  static constexpr int64_t kStep = 2 * kLanes;
  /* With 16 registers the sums of so many rows and columns fit by one vector each alone: the even vectors
   * of a slab come first, then the odd ones. */
  static constexpr bool kByHalves = kLanes == 8;

  struct Sum {
    Vec even, odd;
  };
  struct Pair {
    Vec first, second;
  };
  static SX_INLINE_METHOD void clear(Sum& sum) { sum.even = sum.odd = zero(); }
  static SX_INLINE_METHOD Vec& half_of(Sum& sum, int half) {
    return half == 0 ? sum.even : sum.odd;
  }
  static SX_INLINE_METHOD Pair load_x(const X* x) { return {load(x), load(x + kLanes)}; }
  static SX_INLINE_METHOD Pair load_weight(const W* weight) {
    return {load(weight), load(weight + kLanes)};
  }
#ifdef __AVX512F__
  static SX_INLINE_METHOD Pair of_line(__m512i line) {
    const auto widened = [](__m256i half) {
      return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
    };
    return {widened(_mm512_castsi512_si256(line)), widened(_mm512_extracti64x4_epi64(line, 1))};
  }
#endif
  static SX_INLINE_METHOD void pack(X* out, const In* x) {
    store(out, load(x));
    store(out + kLanes, load(x + kLanes));
  }
  static SX_INLINE_METHOD X pack_one(In x) { return widen(x); }
  static SX_INLINE_METHOD void multiply(Sum& sum, const Pair& x, const Pair& weight) {
    sum.even = fma(x.first, weight.first, sum.even);
    sum.odd = fma(x.second, weight.second, sum.odd);
  }
  static SX_INLINE_METHOD float finish(const Sum& sum, const X* x, const W* weight, int64_t left) {
    float total = reduce_add(add(sum.even, sum.odd));
    /* Rounded once, wherever this is compiled: a compiler may choose otherwise in each place. */
    for (int64_t l = 0; l < left; l++) total = __builtin_fmaf(x[l], widen(weight[l]), total);
    return total;
  }
};

#ifdef SX_HAS_PAIRS
/* Sums of products of bf16 pairs. */
struct PairDots {
  using Source = bf16;
  using X = bf16;
  using Weight = bf16;
  static constexpr int kRows = 8;
  static constexpr int kColumns = 3;
  static constexpr int64_t kStep = 2 * kLanes;
  static constexpr bool kByHalves = false;

  using Sum = Vec;
  using Pair = __m512bh;
  static SX_INLINE_METHOD void clear(Sum& sum) { sum = zero(); }
  static SX_INLINE_METHOD Pair load_x(const X* x) { return (Pair)_mm512_loadu_si512(x); }
  static SX_INLINE_METHOD Pair load_weight(const bf16* weight) { return load_x(weight); }
  static SX_INLINE_METHOD Pair of_line(__m512i line) { return (Pair)line; }
  static SX_INLINE_METHOD void pack(X* out, const X* x) {
    _mm512_storeu_si512(out, _mm512_loadu_si512(x));
  }
  static SX_INLINE_METHOD X pack_one(X x) { return x; }
  static SX_INLINE_METHOD void multiply(Sum& sum, Pair x, Pair weight) {
    sum = _mm512_dpbf16_ps(sum, x, weight);
  }
  static SX_INLINE_METHOD float finish(Sum sum, const X* x, const bf16* weight, int64_t left) {
    if (left > 0) {
      const __mmask32 mask = static_cast<__mmask32>((1ull << left) - 1);
      multiply(sum, (Pair)_mm512_maskz_loadu_epi16(mask, x),
               (Pair)_mm512_maskz_loadu_epi16(mask, weight));
    }
    return reduce_add(sum);
  }
};
#endif

}  // namespace SX_ISA
}  // namespace sx

#endif
