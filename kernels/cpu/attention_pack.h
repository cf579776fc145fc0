/*
 * Packing of keys and values for the register tiles of attention_tile.h and antidiagonal_score.
 *
 * Keys: panels of kMicroColumns keys, transposed: panel[d][key], f32, so that one broadcast query
 * element meets kMicroColumns keys. Values: panels of kMicroColumns columns: panel[key][d], f32.
 * bf16 widens exactly. Rows past the end of a tile are zero.
 */
#ifndef SX_CPU_ATTENTION_PACK_H
#define SX_CPU_ATTENTION_PACK_H

#include <immintrin.h>

#include "attention.h"
#include "simd.h"

namespace sx {
namespace SX_ISA {

/* Columns of the register tile: two vectors. */
constexpr int kMicroColumns = 2 * kLanes;

/* Eight consecutive elements of a row as f32. */
template <bool kBf16>
static inline __m256 load_eight(const char* row, int64_t index) {
  if constexpr (kBf16) {
    const __m128i bits = _mm_loadu_si128(reinterpret_cast<const __m128i*>(row + index * 2));
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
  } else {
    return _mm256_loadu_ps(reinterpret_cast<const float*>(row) + index);
  }
}

/* Transposes eight vectors of eight in registers. */
static inline void transpose_eight(__m256 (&r)[8]) {
  __m256 t[8], u[8];
#pragma GCC unroll 4
  for (int i = 0; i < 4; i++) {
    t[2 * i] = _mm256_unpacklo_ps(r[2 * i], r[2 * i + 1]);
    t[2 * i + 1] = _mm256_unpackhi_ps(r[2 * i], r[2 * i + 1]);
  }
#pragma GCC unroll 2
  for (int i = 0; i < 8; i += 4) {
    u[i] = _mm256_shuffle_ps(t[i], t[i + 2], 0x44);
    u[i + 1] = _mm256_shuffle_ps(t[i], t[i + 2], 0xee);
    u[i + 2] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0x44);
    u[i + 3] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0xee);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; i++) {
    r[i] = _mm256_permute2f128_ps(u[i], u[i + 4], 0x20);
    r[i + 4] = _mm256_permute2f128_ps(u[i], u[i + 4], 0x31);
  }
}

/* Packs `width` elements (a multiple of 8) of `count` rows, transposed, into the panels at out;
 * one panel takes panel_depth * kMicroColumns floats. Row n begins at rows + n * row_bytes. Panels
 * are filled up to `padded` rows, a multiple of kMicroColumns. */
template <bool kBf16>
static inline void pack_transposed(float* out, int64_t panel_depth, const char* rows,
                                   int64_t row_bytes, int64_t count, int64_t padded,
                                   int64_t width) {
  for (int64_t n = 0; n < padded; n += 8) {
    float* column = out + n / kMicroColumns * panel_depth * kMicroColumns + n % kMicroColumns;
    for (int64_t d = 0; d < width; d += 8) {
      __m256 block[8];
#pragma GCC unroll 8
      for (int i = 0; i < 8; i++) {
        block[i] =
            n + i < count ? load_eight<kBf16>(rows + (n + i) * row_bytes, d) : _mm256_setzero_ps();
      }
      transpose_eight(block);
#pragma GCC unroll 8
      for (int i = 0; i < 8; i++) _mm256_storeu_ps(column + (d + i) * kMicroColumns, block[i]);
    }
  }
}

/* Packs `count` rows of `width` elements (a multiple of kMicroColumns) into panels of columns; one
 * panel takes panel_rows * kMicroColumns floats. */
template <bool kBf16>
static inline void pack_columns(float* out, int64_t panel_rows, const char* rows, int64_t row_bytes,
                                int64_t count, int64_t width) {
  for (int64_t n = 0; n < count; n++) {
    const char* row = rows + n * row_bytes;
    for (int64_t d = 0; d < width; d += 8) {
      float* panel = out + d / kMicroColumns * panel_rows * kMicroColumns;
      _mm256_storeu_ps(panel + n * kMicroColumns + d % kMicroColumns, load_eight<kBf16>(row, d));
    }
  }
}

}  // namespace SX_ISA
}  // namespace sx

#endif
