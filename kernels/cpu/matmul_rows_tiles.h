/*
 * Products of few rows on the matrix unit (amx.h), for bf16 inputs and weights.
 *
 * The weights are the left operand, read from where they lie: 16 of them by 32 elements of depth are
 * a tile as it is. x is the right one, packed once per call, 16 rows to a tile; so 1 to 16 rows cost
 * one product each, some 16 cycles for 1 KiB of weights, which memory takes longer to bring. A sum
 * adds 32 elements of depth a product, in order, whatever the number of rows.
 */
#ifndef SX_CPU_MATMUL_ROWS_TILES_H
#define SX_CPU_MATMUL_ROWS_TILES_H

#include "amx.h"
#include "ops.h"
#include "thread_pool.h"

#ifdef SX_HAS_TILES

namespace sx {
namespace SX_ISA {

/* Weights are asked for so many bytes of a row ahead: 32 rows of a panel make 16 KiB. GB/s of two cores of a
 * Xeon at depths of 2,048 and 8,192: 28.2 and 26.4; with 1,024 bytes 27.2 and 24.4, with 2,048 24.8 and
 * 21.2. Discarded: asking for the whole next panel in the order of memory, 28.0 and 26.1. */
constexpr int64_t kRowAheadBytes = 512;

SX_INLINE int64_t depth_steps(const sx_matmul_params& args) { return ceil_div(args.k, kTileDepth); }

/* Scratch bytes of a product: x as [ceil(m / 16)][steps] right tiles. */
SX_INLINE int64_t rows_bytes(const sx_matmul_params& args) {
  return ceil_div(args.m, kTileSide) * depth_steps(args) * kTileBytes;
}

static inline void pack_rows(Context& context, const sx_matmul_params& args, char* out) {
  const int64_t steps = depth_steps(args), tiles = ceil_div(args.m, kTileSide) * steps;
  parallel_for(context, tiles, row_grain(kTileBytes), [&](int64_t begin, int64_t end, int32_t) {
    for (int64_t tile = begin; tile < end; tile++) {
      const int64_t row = tile / steps * kTileSide, depth = tile % steps * kTileDepth;
      const char* from = static_cast<const char*>(args.x) + (row * args.x_stride + depth) * 2;
      const int64_t count = min64(kTileSide, args.m - row);
      const int64_t width = min64(kTileDepth, args.k - depth);
      if (count == kTileSide && width == kTileDepth) {
        pack_right_tile(out + tile * kTileBytes, from, args.x_stride * 2);
      } else {
        pack_right_edge(out + tile * kTileBytes, from, args.x_stride * 2, count, width);
      }
    }
  });
}

/* Two left tiles of weights to the registers 4 and 5, at one step of depth; zeros past the edges. */
class WeightTiles {
 public:
  WeightTiles(const sx_matmul_params& args, int64_t column)
      : row_bytes_(args.k * 2),
        depth_(args.k),
        columns_(args.n - column),
        first_(static_cast<const char*>(args.weight) + column * args.k * 2) {}

  void load(int64_t step) {
    const int64_t width = min64(kTileDepth, depth_ - step * kTileDepth);
    const char* from = first_ + step * kTileDepth * 2;
    if (width == kTileDepth && columns_ >= kTwoSides) {
      SX_TILE_LOAD(4, from, row_bytes_);
      SX_TILE_LOAD(5, from + kTileSide * row_bytes_, row_bytes_);
      return;
    }
    __builtin_memset(edge_, 0, sizeof edge_);
    for (int64_t r = 0; r < min64(kTwoSides, columns_); r++) {
      __builtin_memcpy(edge_ + r * 64, from + r * row_bytes_, static_cast<size_t>(width * 2));
    }
    SX_TILE_LOAD(4, edge_, 64);
    SX_TILE_LOAD(5, edge_ + kTileBytes, 64);
  }

  /* Asks for what follows in the rows, and near their ends for the next panel's rows, if they are this
   * thread's, too. */
  void prefetch_ahead(int64_t step, bool has_next) const {
    int64_t at = step * 64 + kRowAheadBytes;
    if (at >= row_bytes_) {
      if (!has_next) return;
      at += (kTwoSides - 1) * row_bytes_;
    }
    for (int64_t r = 0; r < kTwoSides; r++) prefetch_l2(first_ + r * row_bytes_ + at);
  }

 private:
  int64_t row_bytes_, depth_, columns_;
  const char* first_;
  alignas(64) char edge_[2 * kTileBytes];
};

/* out (+)= 32 columns from `column` on by up to 32 rows from `row` on; x as pack_rows leaves it.
 * has_next: whether this thread multiplies the next 32 columns after these. */
static inline void multiply_panel_by_tiles(const sx_matmul_params& args, const char* x,
                                           int64_t column, int64_t row, bool has_next) {
  const int64_t steps = depth_steps(args), rows = min64(kTwoSides, args.m - row);
  const char* right = x + row / kTileSide * steps * kTileBytes;
  WeightTiles weights(args, column);
  zero_sums();
  for (int64_t step = 0; step < steps; step++, right += kTileBytes) {
    if (row == 0) weights.prefetch_ahead(step, has_next);
    SX_TILE_LOAD(6, right, 64);
    weights.load(step);
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(2, 5, 6);
    if (rows <= kTileSide) continue;
    SX_TILE_LOAD(7, right + steps * kTileBytes, 64);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(3, 5, 7);
  }
  alignas(64) float sums[kTwoSides * kTwoSides]; /* [columns][rows] */
  store_sums(sums, kTwoSides);
  const int64_t columns = min64(kTwoSides, args.n - column);
  for (int64_t i = 0; i < rows; i++) {
    float* out = sums_of(args) + (row + i) * args.out_stride + column;
    for (int64_t j = 0; j < columns; j++) {
      const float sum = sums[j * kTwoSides + i];
      out[j] = args.accumulate ? out[j] + sum : sum;
    }
  }
}

static inline void multiply_rows_by_tiles(Context& context, const sx_matmul_params& args, char* x) {
  pack_rows(context, args, x);
  const int64_t panels = ceil_div(args.n, kTwoSides), panel_bytes = kTwoSides * args.k * 2;
  /* Few ends of chunks, as in matmul_rows.cpp. */
  const Grain grain(max64(1, (1 << 22) / panel_bytes), row_grain(panel_bytes));
  parallel_for(context, panels, grain, [&](int64_t begin, int64_t end, int32_t) {
    const TileScope scope;
    for (int64_t panel = begin; panel < end; panel++) {
      for (int64_t row = 0; row < args.m; row += kTwoSides) {
        multiply_panel_by_tiles(args, x, panel * kTwoSides, row, panel + 1 < end);
      }
    }
  });
}

}  // namespace SX_ISA
}  // namespace sx

#endif
#endif
