/*
 * The two ways in which vectors multiply 8-bit numbers (see int8.h), and the register tile that both
 * fill: R rows of x by P panels of weights.
 *
 * Weights lie as numbers plus 128, without a sign; what that adds to a sum, 128 times the sum of a
 * row of x, is taken away at its end.
 *  - Vnni: vpdpbusd adds four products to a lane. Both signs and no saturation.
 *  - Pairs: weights are widened to 16 bits, and vpmaddwd adds two products to a lane. Discarded for
 *    sets without VNNI: vpmaddubsw, whose sums of two products saturate unless the signs of the weights
 *    are moved to x for every row.
 */
#ifndef SX_CPU_INT8_DOTS_H
#define SX_CPU_INT8_DOTS_H

#include "int8_rows.h"
#include "streamed.h"

namespace sx {
namespace SX_ISA {

#if defined(__AVX512VNNI__) || defined(__AVXVNNI__)
#define SX_HAS_VNNI 1
#endif

constexpr int kVectorBytes = 4 * kLanes;

#ifdef __AVX512F__
SX_INLINE Ints load_ints(const void* p) { return _mm512_loadu_si512(p); }
SX_INLINE void store_all(int32_t* p, Ints v) { _mm512_storeu_si512(p, v); }
SX_INLINE Ints sub_ints(Ints a, Ints b) { return _mm512_sub_epi32(a, b); }
SX_INLINE Ints broadcast_int(int32_t x) { return _mm512_set1_epi32(x); }
#else
SX_INLINE Ints load_ints(const void* p) {
  return _mm256_loadu_si256(static_cast<const __m256i*>(p));
}
SX_INLINE void store_all(int32_t* p, Ints v) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), v);
}
SX_INLINE Ints sub_ints(Ints a, Ints b) { return _mm256_sub_epi32(a, b); }
SX_INLINE Ints broadcast_int(int32_t x) { return _mm256_set1_epi32(x); }
#endif

#ifdef SX_HAS_VNNI
struct Vnni {
  using X = int8_t;
  /* Vectors of a panel at one quad of depth, and sums of one row. */
  static constexpr int kVectors = kQuadBytes / kVectorBytes;
  static constexpr int kSums = kPanelRows;
  /* The tile for many rows. */
  static constexpr int kRows = kLanes == 16 ? 12 : 6;
  static constexpr int kPanels = kLanes == 16 ? 2 : 1;
  /* Sums of one row that are independent, for the latency of 4 or 5 cycles. */
  static constexpr int kChains = 8;

  static SX_INLINE_METHOD Ints load_weight(const uint8_t* quad, int vector) {
    return load_ints(quad + vector * kVectorBytes);
  }
  static SX_INLINE_METHOD Ints load_x(const X* x) {
    int32_t four;
    __builtin_memcpy(&four, x, sizeof four);
    return broadcast_int(four);
  }
  static SX_INLINE_METHOD Ints multiply(Ints sum, Ints x, Ints weight) {
#ifdef __AVX512F__
    return _mm512_dpbusd_epi32(sum, weight, x);
#else
    return _mm256_dpbusd_avx_epi32(sum, weight, x);
#endif
  }
  static SX_INLINE_METHOD void finish(int32_t*) {}
};
#endif

struct Pairs {
  using X = int16_t;
  static constexpr int kVectors = 2 * kQuadBytes / kVectorBytes;
  static constexpr int kSums = 2 * kPanelRows;
  static constexpr int kRows = kLanes == 16 ? 12 : 2;
  static constexpr int kPanels = 1;
  static constexpr int kChains = 4; /* additions, of one cycle */

  static SX_INLINE_METHOD Ints load_weight(const uint8_t* quad, int vector) {
    const uint8_t* p = quad + vector * (kVectorBytes / 2);
#ifdef __AVX512F__
    return _mm512_cvtepu8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
#else
    return _mm256_cvtepu8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
#endif
  }
  static SX_INLINE_METHOD Ints load_x(const X* x) {
    long long four;
    __builtin_memcpy(&four, x, sizeof four);
#ifdef __AVX512F__
    return _mm512_set1_epi64(four);
#else
    return _mm256_set1_epi64x(four);
#endif
  }
  static SX_INLINE_METHOD Ints multiply(Ints sum, Ints x, Ints weight) {
#ifdef __AVX512F__
    return add_ints(sum, _mm512_madd_epi16(x, weight));
#else
    return add_ints(sum, _mm256_madd_epi16(x, weight));
#endif
  }
  /* Each column has two sums side by side. */
  static SX_INLINE_METHOD void finish(int32_t* sums) {
    for (int64_t j = 0; j < kPanelRows; j++) sums[j] = sums[2 * j] + sums[2 * j + 1];
  }
};

/* What becomes of numbers that are written: they replace those of out, past the caches (see streamed.h)
 * or not, or are added. */
enum class Write { kStore, kStream, kAdd };

/* Writes up to 16 columns of a row: f32(sum - offset) * (scale * scales[j]). */
static inline void write_row(float* out, const int32_t* sums, int32_t offset, float scale,
                             const float* scales, int64_t columns, Write how) {
  const bool add_to_out = how == Write::kAdd;
  float whole[kPanelRows] = {};
  float* to = columns == kPanelRows ? out : whole;
  if (add_to_out && to != out) __builtin_memcpy(whole, out, static_cast<size_t>(columns) * 4);
  for (int64_t j = 0; j < kPanelRows; j += kLanes) {
    const Vec value = ints_to_floats(sub_ints(load_ints(sums + j), broadcast_int(offset)));
    const Vec both = mul(broadcast(scale), load(scales + j));
    if (how == Write::kStream && to == out) {
      stream(to + j, mul(value, both));
    } else {
      store(to + j, add_to_out ? fma(value, both, load(to + j)) : mul(value, both));
    }
  }
  if (to != out) __builtin_memcpy(out, whole, static_cast<size_t>(columns) * 4);
}

/* Memory is asked for so far ahead, into L1: the processor's own prefetching ends at each page. */
constexpr int64_t kInt8AheadBytes = 8192;

/* Where a tile's operands and sums lie. */
template <class Dots>
struct DotTile {
  const uint8_t* weight;     /* the first panel */
  int64_t panel_stride;      /* bytes from panel to panel */
  const typename Dots::X* x; /* the first row */
  int64_t x_stride;
  int64_t quads;
  int32_t* sums;       /* [P][rows][kSums] */
  int64_t sums_stride; /* from panel to panel */
};

/* One quad. Whichever of weights and x takes fewer registers stays in them. */
template <class Dots, int R, int P>
SX_INLINE void multiply_quad(const DotTile<Dots>& t, const uint8_t* weight,
                             const typename Dots::X* x, Ints (&sums)[P][R][Dots::kVectors]) {
  constexpr int V = Dots::kVectors;
  if constexpr (R < P * V) {
    Ints fours[R];
#pragma GCC unroll 12
    for (int r = 0; r < R; r++) fours[r] = Dots::load_x(x + r * t.x_stride);
#pragma GCC unroll 4
    for (int p = 0; p < P; p++) {
#pragma GCC unroll 4
      for (int v = 0; v < V; v++) {
        const Ints own = Dots::load_weight(weight + p * t.panel_stride, v);
#pragma GCC unroll 12
        for (int r = 0; r < R; r++) sums[p][r][v] = Dots::multiply(sums[p][r][v], fours[r], own);
      }
    }
    return;
  }
  Ints weights[P][V];
#pragma GCC unroll 4
  for (int p = 0; p < P; p++) {
#pragma GCC unroll 4
    for (int v = 0; v < V; v++) {
      weights[p][v] = Dots::load_weight(weight + p * t.panel_stride, v);
    }
  }
#pragma GCC unroll 12
  for (int r = 0; r < R; r++) {
    const Ints four = Dots::load_x(x + r * t.x_stride);
#pragma GCC unroll 4
    for (int p = 0; p < P; p++) {
#pragma GCC unroll 4
      for (int v = 0; v < V; v++) {
        sums[p][r][v] = Dots::multiply(sums[p][r][v], four, weights[p][v]);
      }
    }
  }
}

/* sums = R rows by P panels; U quads at once have sums of their own. kAhead: the weights come from
 * memory. */
template <class Dots, int R, int P, int U, bool kAhead>
void multiply_dots(const DotTile<Dots>& t) {
  constexpr int V = Dots::kVectors;
  Ints sums[U][P][R][V];
#pragma GCC unroll 8
  for (int u = 0; u < U; u++) {
#pragma GCC unroll 4
    for (int p = 0; p < P; p++) {
#pragma GCC unroll 12
      for (int r = 0; r < R; r++) {
#pragma GCC unroll 4
        for (int v = 0; v < V; v++) sums[u][p][r][v] = zero_ints();
      }
    }
  }
#pragma GCC unroll 1
  for (int64_t quad = 0; quad < t.quads; quad += U) {
#pragma GCC unroll 8
    for (int u = 0; u < U; u++) {
      const uint8_t* weight = t.weight + (quad + u) * kQuadBytes;
      const typename Dots::X* x = t.x + (quad + u) * kQuad;
      if constexpr (kAhead) {
        /* Near a panel's end for the one that its stream reads next. */
        int64_t ahead = P > 2 ? kInt8AheadBytes / 2 : kInt8AheadBytes;
        if ((quad + u) * kQuadBytes + ahead >= t.panel_stride) ahead += (P - 1) * t.panel_stride;
        for (int p = 0; p < P; p++) prefetch(weight + p * t.panel_stride + ahead);
      }
      multiply_quad<Dots, R, P>(t, weight, x, sums[u]);
    }
  }
#pragma GCC unroll 4
  for (int p = 0; p < P; p++) {
#pragma GCC unroll 12
    for (int r = 0; r < R; r++) {
#pragma GCC unroll 4
      for (int v = 0; v < V; v++) {
        Ints total = sums[0][p][r][v];
#pragma GCC unroll 8
        for (int u = 1; u < U; u++) total = add_ints(total, sums[u][p][r][v]);
        int32_t* out = t.sums + p * t.sums_stride + r * Dots::kSums + v * kLanes;
        store_all(out, total);
      }
    }
  }
}

/* Quads at once for R rows: so many sums are independent. */
template <class Dots>
constexpr int quads_at_once(int rows, int panels) {
  const int chains = rows * panels * Dots::kVectors;
  return chains >= Dots::kChains       ? 1
         : chains * 2 >= Dots::kChains ? 2
         : chains * 4 >= Dots::kChains ? 4
                                       : 8;
}

/* The same for `rows` rows, at most R. */
template <class Dots, int R, int P, bool kAhead>
void multiply_row_dots(const DotTile<Dots>& tile, int64_t rows) {
  if constexpr (R > 1) {
    if (rows < R) return multiply_row_dots<Dots, R - 1, P, kAhead>(tile, rows);
  }
  constexpr int kQuads = quads_at_once<Dots>(R, P);
  multiply_dots<Dots, R, P, kQuads, kAhead>(tile);
}

}  // namespace SX_ISA
}  // namespace sx

#endif
