/*
 * The linear layer on the matrix unit (amx.h), for bf16 inputs and weights and many rows.
 *
 * x is packed into left tiles once per call. A task takes some panels of 32 columns and up to
 * kTaskRows rows. For every slab of depth and every panel it packs the panel's weights into right
 * tiles, which stay in L1 while all rows pass, 32 at a time; the sums of all panels wait in L2 for
 * the next slab, so that a slab of x is read from beyond L2 once per task and not once per panel.
 * The rows' loop asks for the weights of the next slab. Packing a weight takes an eighth of a
 * cycle, multiplying it by 512 rows one cycle.
 */
#ifndef SX_CPU_MATMUL_TILES_H
#define SX_CPU_MATMUL_TILES_H

#include "amx.h"
#include "ops.h"
#include "streamed.h"
#include "thread_pool.h"

#ifdef SX_HAS_TILES

namespace sx {
namespace SX_ISA {

/* A slab of 32 columns takes 16 KiB: L1 holds it beside the rows that stream past it. */
constexpr int64_t kTilesDepth = 256;
constexpr int64_t kSlabBytes = kTwoSides * kTilesDepth * 2;
/* With so many rows and panels the sums take 512 KiB and a slab of x 256 KiB, both in L2. */
constexpr int64_t kTaskRows = 512;
constexpr int64_t kTaskPanels = 8;
constexpr int64_t kBlockFloats = kTwoSides * kTwoSides;
constexpr int64_t kSumsBytes = kTaskPanels * kTaskRows * kTwoSides * 4;

/* Where a slab's left tiles of 32 rows lie: x is packed as [slabs][blocks of 32 rows][steps of the
 * slab][2] tiles, so that what is multiplied together lies together. */
SX_INLINE int64_t left_offset(const sx_matmul_params& args, int64_t slab, int64_t block) {
  constexpr int64_t kSteps = kTilesDepth / kTileDepth;
  const int64_t steps = min64(kSteps, ceil_div(args.k, kTileDepth) - slab * kSteps);
  const int64_t blocks = ceil_div(args.m, kTwoSides);
  return (slab * blocks * kSteps + block * steps) * 2 * kTileBytes;
}

/* Packs x [m, k] bf16; zeros past the edges. */
static inline void pack_left(Context& context, const sx_matmul_params& args, char* out) {
  parallel_for(context, ceil_div(args.m, kTwoSides), 1, [&](int64_t begin, int64_t end, int32_t) {
    for (int64_t row = begin * kTwoSides; row < end * kTwoSides; row++) {
      const bf16* x = static_cast<const bf16*>(args.x) + row * args.x_stride;
      const int64_t in_block = row % kTwoSides * 64;
      for (int64_t d = 0; d < args.k; d += kTileDepth) {
        const int64_t left = row < args.m ? min64(args.k - d, kTileDepth) : 0;
        const __mmask32 mask = static_cast<__mmask32>((1ull << left) - 1);
        char* tiles = out + left_offset(args, d / kTilesDepth, row / kTwoSides) +
                      d % kTilesDepth / kTileDepth * 2 * kTileBytes;
        _mm512_store_si512(tiles + in_block, _mm512_maskz_loadu_epi16(mask, x + d));
      }
    }
  });
}

/* One panel of weights in one slab of depth: where it is and where it ends. */
struct WeightSlab {
  const char* first; /* the element of the first column and depth; null if there is none */
  int64_t row_bytes;
  int64_t columns; /* of the panel, at most 32 */
  int64_t depth;
};

static inline void pack_slab(const WeightSlab& slab, char* out) {
  for (int64_t d = 0; d < slab.depth; d += kTileDepth) {
    const int64_t width = min64(kTileDepth, slab.depth - d);
    for (int64_t j = 0; j < kTwoSides; j += kTileSide, out += kTileBytes) {
      const int64_t count = max64(0, min64(kTileSide, slab.columns - j));
      const char* rows = slab.first + j * slab.row_bytes + d * 2;
      if (count == kTileSide && width == kTileDepth) {
        pack_right_tile(out, rows, slab.row_bytes);
      } else {
        pack_right_edge(out, rows, slab.row_bytes, count, width);
      }
    }
  }
}

/* Asks for part `index` of `parts` of a slab's rows. */
static inline void prefetch_slab(const WeightSlab& slab, int64_t index, int64_t parts) {
  const int64_t begin = index * slab.columns / parts, end = (index + 1) * slab.columns / parts;
  for (int64_t j = begin; j < end; j++) {
    const char* row = slab.first + j * slab.row_bytes;
    for (int64_t d = 0; d < slab.depth * 2; d += 64) _mm_prefetch(row + d, _MM_HINT_T1);
  }
}

/* Writes the upper left rows x columns of a 32 x 32 block, past the caches or not, or adds them. */
static inline void copy_block(float* out, int64_t out_stride, const float* block, int64_t rows,
                              int64_t columns, bool add_to_out, bool is_streamed) {
  const auto lanes = [](int64_t count) {
    return static_cast<__mmask16>((1u << max64(0, min64(count, kLanes))) - 1);
  };
  const __mmask16 low = lanes(columns), high = lanes(columns - kLanes);
  for (int64_t i = 0; i < rows; i++, out += out_stride, block += kTwoSides) {
    Vec a = load(block), b = load(block + kLanes);
    if (add_to_out) {
      a = add(a, _mm512_maskz_loadu_ps(low, out));
      b = add(b, _mm512_maskz_loadu_ps(high, out + kLanes));
    }
    if (is_streamed && columns == kTwoSides) {
      stream(out, a);
      stream(out + kLanes, b);
    } else {
      _mm512_mask_storeu_ps(out, low, a);
      _mm512_mask_storeu_ps(out + kLanes, high, b);
    }
  }
}

/* Scratch bytes of a product: packed x, and a slab and sums for every thread. */
static inline int64_t tiles_bytes(const Context& context, const sx_matmul_params& args) {
  const int64_t x = round_up(args.m, kTwoSides) * round_up(args.k, kTileDepth) * 2;
  return x + context.threads * (kSlabBytes + kSumsBytes);
}

/* The panels begin..end - 1 of one product in the memory of one worker. */
class TileTask {
 public:
  TileTask(const sx_matmul_params& args, const char* x, char* memory)
      : args_(args),
        x_(x),
        packed_(memory),
        sums_(reinterpret_cast<float*>(memory + kSlabBytes)),
        slabs_(ceil_div(args.k, kTilesDepth)),
        is_streamed_(is_streamed(args)) {}

  void run(int64_t begin, int64_t end) {
    const int64_t panels = end - begin, count = panels * slabs_;
    first_panel_ = begin;
    for (int64_t row = 0; row < args_.m; row += kTaskRows) {
      for (int64_t index = 0; index < count; index++) {
        const WeightSlab slab = slab_at(index, panels);
        pack_slab(slab, packed_);
        multiply(row, index / panels, index % panels, slab,
                 index + 1 < count ? slab_at(index + 1, panels) : WeightSlab{nullptr, 0, 0, 0});
      }
    }
    if (is_streamed_) end_stream();
  }

 private:
  /* Slab by slab of depth, in it panel by panel. */
  WeightSlab slab_at(int64_t index, int64_t panels) const {
    const int64_t column = (first_panel_ + index % panels) * kTwoSides;
    const int64_t depth = index / panels * kTilesDepth;
    const char* weight = static_cast<const char*>(args_.weight) + (column * args_.k + depth) * 2;
    return WeightSlab{weight, args_.k * 2, min64(kTwoSides, args_.n - column),
                      min64(kTilesDepth, args_.k - depth)};
  }

  /* Adds the packed slab's products for the rows from `row` on; the last slab's sums go to out. */
  void multiply(int64_t row, int64_t slab, int64_t panel, const WeightSlab& weights,
                const WeightSlab& next) {
    const int64_t steps = ceil_div(weights.depth, kTileDepth);
    const int64_t blocks = ceil_div(min64(kTaskRows, args_.m - row), kTwoSides);
    float* sums = sums_ + panel * (kTaskRows / kTwoSides) * kBlockFloats;
    const char* left = x_ + left_offset(args_, slab, row / kTwoSides);
    for (int64_t i = 0; i < blocks; i++, sums += kBlockFloats, left += steps * 2 * kTileBytes) {
      if (slab > 0) {
        load_sums(sums, kTwoSides);
        for (int64_t f = kBlockFloats; f < 2 * kBlockFloats; f += kLanes) prefetch(sums + f);
      } else {
        zero_sums();
      }
      if (next.first != nullptr) prefetch_slab(next, i, blocks);
      multiply_two_by_two(left, packed_, steps);
      store_sums(sums, kTwoSides);
      if (slab + 1 < slabs_) continue;
      const int64_t first_row = row + i * kTwoSides;
      copy_block(sums_of(args_) + first_row * args_.out_stride + (first_panel_ + panel) * kTwoSides,
                 args_.out_stride, sums, min64(kTwoSides, args_.m - first_row), weights.columns,
                 args_.accumulate, is_streamed_);
    }
  }

  const sx_matmul_params& args_;
  const char* x_; /* by pack_left */
  char* packed_;  /* right tiles [steps of a slab][2] */
  float* sums_;   /* [kTaskPanels][kTaskRows / 32][32][32] */
  int64_t slabs_;
  bool is_streamed_;
  int64_t first_panel_ = 0;
};

static inline void multiply_by_tiles(Context& context, const sx_matmul_params& args, char* memory) {
  const int64_t worker_bytes = kSlabBytes + kSumsBytes;
  char* x = memory + context.threads * worker_bytes;
  pack_left(context, args, x);
  const int64_t panels = ceil_div(args.n, kTwoSides);
  const int64_t grain = max64(1, min64(kTaskPanels, panels / (4 * context.threads)));
  parallel_for(context, panels, grain, [&](int64_t begin, int64_t end, int32_t worker) {
    const TileScope scope;
    TileTask(args, x, memory + worker * worker_bytes).run(begin, end);
  });
}

}  // namespace SX_ISA
}  // namespace sx

#endif
#endif
