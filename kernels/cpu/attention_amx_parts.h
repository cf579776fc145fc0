/*
 * Packing and arithmetic of attention_amx.h: queries as right tiles, values as left tiles, and
 * softmax weights.
 */
#ifndef SX_CPU_ATTENTION_AMX_PARTS_H
#define SX_CPU_ATTENTION_AMX_PARTS_H

#include <math.h>

#include "amx.h"
#include "attention_parts.h"

#ifdef SX_HAS_TILES

namespace sx {
namespace SX_ISA {

/* Six tiles of full size; tile 6 is one row of sums, and tile 7 one row of ones. Numbers below
 * 2^-126 are zero meanwhile, as they are for the matrix unit: the vector units would take hundreds
 * of cycles for each. */
class AttentionTileScope {
 public:
  AttentionTileScope() : control_(_mm_getcsr()) {
    alignas(64) uint8_t config[64] = {1}; /* palette 1 */
    for (int tile = 0; tile < 8; tile++) {
      config[16 + 2 * tile] = 64; /* bytes of a row, as 16 bits */
      config[48 + tile] = tile < 6 ? kTileSide : 1;
    }
    load_tile_shapes(config);
    alignas(64) uint16_t ones[kTileDepth];
    for (uint16_t& one : ones) one = 0x3f80;
    SX_TILE_LOAD(7, ones, 64);
    _mm_setcsr(control_ | 0x8040); /* flush to zero, denormals are zero */
  }
  ~AttentionTileScope() {
    _tile_release();
    _mm_setcsr(control_);
  }
  AttentionTileScope(const AttentionTileScope&) = delete;
  AttentionTileScope& operator=(const AttentionTileScope&) = delete;

 private:
  const unsigned control_;
};

/* 2^x + 2^(n - 8), where x = logit * factor - shift and n is the weight's exponent: half a step of
 * bf16, so that cutting it off rounds to nearest. The polynomial is fitted to 2^f on [0, 1] for the
 * least relative error, 8e-5. */
SX_INLINE Vec weight_of(Vec logit, Vec factor, Vec shift) {
  constexpr float c0 = 0.99992524f + 0.00390625f, c1 = 0.69583344f, c2 = 0.22606725f,
                  c3 = 0.07802454f;
  constexpr int kFraction = 0x09; /* x - floor(x) */
  const Vec x = fms(logit, factor, shift);
  const Vec f = _mm512_reduce_ps(x, kFraction);
  Vec y = fma(broadcast(c3), f, broadcast(c2));
  y = fma(y, f, broadcast(c1));
  y = fma(y, f, broadcast(c0));
  return _mm512_scalef_ps(y, x);
}

/* The upper halves of both, cut off to bf16: `even` in the lower 16 bits. */
SX_INLINE __m512i pair_of(Vec even, Vec odd) {
  const __m512i low = _mm512_srli_epi32(_mm512_castps_si512(even), 16);
  return _mm512_mask_blend_epi16(0xaaaaaaaa, low, _mm512_castps_si512(odd));
}

/* Lets quarters of what was stored be read back: the compiler would take them out of registers, by
 * instructions that only one port executes. */
template <class T>
SX_INLINE void in_memory(T& array) {
  asm volatile("" : "+m"(array));
}

/* Packs 16 queries (null: zeros), rounded to bf16, as right tiles [D / 32]. */
template <int D>
static inline void pack_queries(char* out, const float* const (&rows)[kTileSide], bool negate) {
  const __m512i sign = _mm512_set1_epi32(negate ? static_cast<int>(0x80000000) : 0);
  alignas(64) char block[kTileBytes];
  for (int64_t d = 0; d < D; d += kTileDepth, out += kTileBytes) {
    for (int64_t r = 0; r < kTileSide; r++) {
      __m512i pairs = _mm512_setzero_si512();
      if (rows[r] != nullptr) {
        const auto part = [&](int64_t at) {
          return _mm512_castsi512_ps(
              _mm512_xor_si512(_mm512_castps_si512(load(rows[r] + at)), sign));
        };
        pairs = (__m512i)_mm512_cvtne2ps_pbh(part(d + kLanes), part(d));
      }
      _mm512_store_si512(block + r * 64, pairs);
    }
    in_memory(block);
    pack_right_tile(out, block, 64);
  }
}

/* Copies `count` rows of D bf16, and zeros up to `padded`. */
template <int D>
static inline void copy_rows(char* out, const char* rows, int64_t step, int64_t count,
                             int64_t padded) {
  for (int64_t r = 0; r < padded; r++, out += D * 2) {
    for (int64_t b = 0; b < D * 2; b += 64) {
      _mm512_store_si512(
          out + b, r < count ? _mm512_loadu_si512(rows + r * step + b) : _mm512_setzero_si512());
    }
  }
}

/* Transposes 32 keys x 32 columns of values into two left tiles. */
static inline void pack_left_tiles(char* out, const char* values, int64_t step) {
  alignas(64) char pairs[2][kTileBytes];
#pragma GCC unroll 4
  for (int64_t p = 0; p < kTileSide; p++) {
    const __m512i a = _mm512_loadu_si512(values + 2 * p * step);
    const __m512i b = _mm512_loadu_si512(values + (2 * p + 1) * step);
    /* Within 128 bits: columns 0..3 and 4..7 of each eight. */
    _mm512_store_si512(pairs[0] + p * 64, _mm512_unpacklo_epi16(a, b));
    _mm512_store_si512(pairs[1] + p * 64, _mm512_unpackhi_epi16(a, b));
  }
  in_memory(pairs);
  pack_right_tile(out, pairs[0], 64, 512);
  pack_right_tile(out + 256, pairs[1], 64, 512);
}

/* Packs values, transposed, as left tiles [steps of 32 keys][D / 16]; zeros past the end. */
template <int D>
static inline void pack_values(char* out, const char* values, int64_t step, int64_t count) {
  alignas(64) char edge[kTileDepth * D * 2];
  for (int64_t k = 0; k < count; k += kTileDepth, values += kTileDepth * step) {
    const bool whole = k + kTileDepth <= count;
    if (!whole) copy_rows<D>(edge, values, step, count - k, kTileDepth);
    for (int64_t d = 0; d < D; d += kTileDepth, out += 2 * kTileBytes) {
      pack_left_tiles(out, (whole ? values : edge) + d * 2, whole ? step : D * 2);
    }
  }
}

/* Writes the 16 columns of [D][16] f32 as rows. */
template <int D>
static inline void transpose_columns(float* out, const float* in) {
  alignas(64) char block[kTileBytes];
  for (int64_t d = 0; d < D; d += kTileSide) {
    pack_right_tile(block, reinterpret_cast<const char*>(in + d * kTileSide), 64);
    for (int64_t r = 0; r < kTileSide; r++) {
      store(out + r * D + d, load(reinterpret_cast<const float*>(block + r * 64)));
    }
  }
}

/* Whether no value is a NaN or an infinity. */
template <int D>
static inline bool all_finite(const char* values, int64_t step, int64_t count) {
  const __m512i exponent = _mm512_set1_epi16(0x7f80);
  __mmask32 other = 0;
  for (int64_t n = 0; n < count; n++) {
    for (int64_t b = 0; b < D * 2; b += 64) {
      const __m512i bits = _mm512_and_si512(_mm512_loadu_si512(values + n * step + b), exponent);
      other |= _mm512_cmpeq_epi16_mask(bits, exponent);
    }
  }
  return other == 0;
}

}  // namespace SX_ISA
}  // namespace sx

#endif
#endif
