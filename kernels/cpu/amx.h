/*
 * Tiles of the matrix unit (AMX): eight registers of 16 rows x 64 bytes, and the layouts they read.
 *
 * dpbf16ps adds a product of 16 x 32 and 32 x 16 bf16 to 16 x 16 f32. The left operand lies as rows
 * of 32 consecutive elements; the right one as 16 rows of pairs: row p holds elements 2p and 2p + 1
 * of the depth for 16 columns. Both take 1 KiB, here without gaps. Products are exact, sums f32;
 * numbers below 2^-126 count as zero.
 */
#ifndef SX_CPU_AMX_H
#define SX_CPU_AMX_H

#include "simd.h"

#ifdef __AMX_BF16__
#define SX_HAS_TILES 1

namespace sx {
namespace SX_ISA {

constexpr int64_t kTileSide = 16;  /* rows and f32 columns */
constexpr int64_t kTileDepth = 32; /* bf16 elements of a row */
constexpr int64_t kTileBytes = 1024;
/* Two left by two right tiles and their four sums fill the eight registers: every tile that is read
 * is used twice, so that reads take half of the products' time. */
constexpr int64_t kTwoSides = 2 * kTileSide;

/* Reads a tile. GCC's own intrinsic does not say that it reads memory, nor does that of the shapes say how
 * much: GCC 12 may then leave out what was stored there, or store it later. */
#define SX_TILE_LOAD(tile, base, stride)                                                    \
  __asm__ volatile("tileloadd (%0,%1,1), %%tmm" #tile                                       \
                   :                                                                        \
                   : "r"(static_cast<const void*>(base)), "r"(static_cast<int64_t>(stride)) \
                   : "memory")

/* Takes the shapes of all tiles. */
SX_INLINE void load_tile_shapes(const uint8_t (&config)[64]) {
  __asm__ volatile("ldtilecfg %0" : : "m"(config));
}

/* Tiles of full size for the thread that holds it. The state is dropped at the end, since the
 * system would save 8 KiB at each switch of threads. */
class TileScope {
 public:
  TileScope() {
    alignas(64) uint8_t config[64] = {1}; /* palette 1 */
    for (int tile = 0; tile < 8; tile++) {
      config[16 + 2 * tile] = 64; /* bytes of a row, as 16 bits */
      config[48 + tile] = kTileSide;
    }
    load_tile_shapes(config);
  }
  ~TileScope() { _tile_release(); }
  TileScope(const TileScope&) = delete;
  TileScope& operator=(const TileScope&) = delete;
};

/* Tiles 0..3 += `steps` products of two left tiles and two right tiles: tile 2 * i + j is row i,
 * column j. Both operands advance by two tiles a step. */
SX_INLINE void multiply_two_by_two(const char* left, const char* right, int64_t steps) {
  for (int64_t s = 0; s < steps; s++, left += 2 * kTileBytes, right += 2 * kTileBytes) {
    SX_TILE_LOAD(6, right, 64);
    SX_TILE_LOAD(4, left, 64);
    _tile_dpbf16ps(0, 4, 6);
    SX_TILE_LOAD(7, right + kTileBytes, 64);
    _tile_dpbf16ps(1, 4, 7);
    SX_TILE_LOAD(5, left + kTileBytes, 64);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
}

SX_INLINE void zero_sums() {
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
}

/* Reads and writes the four sums as 32 x 32 f32; stride in floats. */
SX_INLINE void load_sums(const float* p, int64_t stride) {
  SX_TILE_LOAD(0, p, stride * 4);
  SX_TILE_LOAD(1, p + kTileSide, stride * 4);
  SX_TILE_LOAD(2, p + kTileSide * stride, stride * 4);
  SX_TILE_LOAD(3, p + kTileSide * stride + kTileSide, stride * 4);
}
SX_INLINE void store_sums(float* p, int64_t stride) {
  _tile_stored(0, p, stride * 4);
  _tile_stored(1, p + kTileSide, stride * 4);
  _tile_stored(2, p + kTileSide * stride, stride * 4);
  _tile_stored(3, p + kTileSide * stride + kTileSide, stride * 4);
}

/* Four times 128 bits, of rows 0, 4, 8 and 12: the rest of the transpose stays within them. */
SX_INLINE __m512i load_quarters(const char* p, int64_t row_bytes) {
  const auto quarter = [&](int row) {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p + row * row_bytes));
  };
  __m512i v = _mm512_castsi128_si512(quarter(0));
  v = _mm512_inserti32x4(v, quarter(4), 1);
  v = _mm512_inserti32x4(v, quarter(8), 2);
  return _mm512_inserti32x4(v, quarter(12), 3);
}

/* Writes a right tile from 16 rows of 32 bf16, one per column: transposes 16 x 16 pairs. Four rows of
 * the tile follow each other, and the next four after `step` bytes. */
SX_INLINE void pack_right_tile(char* out, const char* rows, int64_t row_bytes, int64_t step = 256) {
#pragma GCC unroll 4
  for (int q = 0; q < 4; q++) {
    const char* p = rows + q * 16;
    const __m512i a = load_quarters(p, row_bytes), b = load_quarters(p + row_bytes, row_bytes);
    const __m512i c = load_quarters(p + 2 * row_bytes, row_bytes);
    const __m512i d = load_quarters(p + 3 * row_bytes, row_bytes);
    const __m512i ab0 = _mm512_unpacklo_epi32(a, b), ab1 = _mm512_unpackhi_epi32(a, b);
    const __m512i cd0 = _mm512_unpacklo_epi32(c, d), cd1 = _mm512_unpackhi_epi32(c, d);
    char* row = out + q * step;
    _mm512_store_si512(row, _mm512_unpacklo_epi64(ab0, cd0));
    _mm512_store_si512(row + 64, _mm512_unpackhi_epi64(ab0, cd0));
    _mm512_store_si512(row + 128, _mm512_unpacklo_epi64(ab1, cd1));
    _mm512_store_si512(row + 192, _mm512_unpackhi_epi64(ab1, cd1));
  }
}

/* The same for `count` < 16 rows or `width` < 32 elements: the rest is zero. */
static inline void pack_right_edge(char* out, const char* rows, int64_t row_bytes, int64_t count,
                                   int64_t width) {
  alignas(64) char whole[kTileBytes] = {};
  for (int64_t r = 0; r < count; r++) {
    __builtin_memcpy(whole + r * 64, rows + r * row_bytes, static_cast<size_t>(width * 2));
  }
  pack_right_tile(out, whole, 64);
}

}  // namespace SX_ISA
}  // namespace sx

#endif
#endif
