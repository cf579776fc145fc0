/*
 * Products with weights of 8 bits on the matrix unit (amx.h), for more than a few rows.
 *
 * dpbsud adds a product of 16 x 64 numbers with and 64 x 16 without a sign to 16 x 16 sums of 32 bits.
 * Panels are right tiles as they lie: 16 quads of depth by 16 columns are 1 KiB in a row. x is rounded
 * and packed into left tiles once per call. A task takes some pairs of panels; for every slab of depth
 * a pair's weights stay in L1 while all rows pass, 32 at a time, and the sums wait in L2 for the next
 * slab. The rows' loop asks for the weights of the next one. Large results go past the caches (streamed.h).
 * Discarded: writing the rows of a block among the products of the next one (as long, or longer).
 */
#ifndef SX_CPU_MATMUL_INT8_TILES_H
#define SX_CPU_MATMUL_INT8_TILES_H

#include "amx.h"
#include "int8_digits.h"
#include "int8_dots.h"
#include "thread_pool.h"

#if defined(SX_HAS_TILES) && defined(__AMX_INT8__)
#define SX_HAS_INT8_TILES 1

namespace sx {
namespace SX_ISA {

constexpr int64_t kInt8Depth = 64; /* elements of a tile's row */
static_assert(kInt8Depth == kPanelDepth, "a panel's depth is whole tiles");
/* A slab of two panels takes 16 KiB. */
constexpr int64_t kInt8SlabSteps = 8;
/* With so many rows and pairs the sums take 512 KiB. */
constexpr int64_t kInt8TaskRows = 512;
constexpr int64_t kInt8TaskPairs = 8;
constexpr int64_t kInt8BlockBytes = kTwoSides * kTwoSides * 4;
constexpr int64_t kInt8SumsBytes = kInt8TaskPairs * kInt8TaskRows * kTwoSides * 4;

/* Numbers of a row that are rounded at a time, on their way to the tiles: adding up what the lanes of a
 * vector have counted takes as long as rounding 64. */
constexpr int64_t kInt8Piece = 4096;
static_assert(kInt8Piece % kInt8Depth == 0, "pieces are whole rows of tiles");

/* x as left tiles, [slabs][blocks of 32 rows][steps of the slab][2]. */
struct Int8Left {
  const DigitRows& digits;
  char* tiles;
  int64_t steps;
  int64_t blocks; /* that there is room for */
  int64_t rows;

  /* Where a block's tiles of a slab lie. */
  char* at(int64_t slab, int64_t block) const {
    const int64_t own = min64(kInt8SlabSteps, steps - slab * kInt8SlabSteps);
    return tiles + (slab * blocks * kInt8SlabSteps + block * own) * 2 * kTileBytes;
  }
  /* Where the elements of a row at one step lie. */
  int8_t* row_at(int64_t row, int64_t step) const {
    char* block = at(step / kInt8SlabSteps, row / kTwoSides);
    return reinterpret_cast<int8_t*>(block + step % kInt8SlabSteps * 2 * kTileBytes +
                                     row % kTwoSides * kInt8Depth);
  }
};

template <class In>
int64_t pack_int8_left(Context& context, const sx_matmul_params& args, const Int8Left& left) {
  const auto write = [&](auto second, int64_t row, const In* x, RowScale scale) {
    DigitSums total = {0, 0};
    alignas(64) int8_t piece[kInt8Piece];
    for (int64_t first = 0; first < args.k; first += kInt8Piece) {
      const int64_t count = min64(kInt8Piece, args.k - first), end = round_up(count, kInt8Depth);
      for (int64_t l = count; l < end; l++) piece[l] = 0;
      const DigitSums sums =
          quantize_numbers<decltype(second)::value>(piece, x + first, count, scale);
      for (int64_t l = 0; l < end; l += kInt8Depth) {
        __builtin_memcpy(left.row_at(row, (first + l) / kInt8Depth), piece + l, kInt8Depth);
      }
      total.sum += sums.sum;
      total.squares += sums.squares;
    }
    return total;
  };
  const int64_t rows = left.digits.fill<In>(context, args, write);
  for (int64_t row = rows; row < round_up(rows, kTwoSides); row++) {
    for (int64_t step = 0; step < left.steps; step++) {
      __builtin_memset(left.row_at(row, step), 0, kInt8Depth);
    }
  }
  return rows;
}

/* Tiles 0..3 += `steps` products of two left tiles and one tile of each of two panels. */
SX_INLINE void multiply_int8_steps(const char* left, const char* first, const char* second,
                                   int64_t steps) {
  for (int64_t s = 0; s < steps; s++) {
    SX_TILE_LOAD(6, first + s * kTileBytes, 64);
    SX_TILE_LOAD(4, left, 64);
    _tile_dpbsud(0, 4, 6);
    SX_TILE_LOAD(7, second + s * kTileBytes, 64);
    _tile_dpbsud(1, 4, 7);
    SX_TILE_LOAD(5, left + kTileBytes, 64);
    _tile_dpbsud(2, 5, 6);
    _tile_dpbsud(3, 5, 7);
    left += 2 * kTileBytes;
  }
}

/* The pairs of panels begin..end - 1 of one product in the memory of one worker. */
class Int8TileTask {
 public:
  Int8TileTask(const sx_matmul_params& args, const Int8Left& left, char* memory)
      : args_(args),
        left_(left),
        sums_(memory),
        panel_bytes_(panel_bytes(args.k)),
        is_streamed_(is_streamed(args)) {}

  void run(int64_t begin, int64_t end) {
    const int64_t slabs = ceil_div(left_.steps, kInt8SlabSteps);
    for (int64_t row = 0; row < left_.rows; row += kInt8TaskRows) {
      const int64_t rows = min64(kInt8TaskRows, left_.rows - row);
      for (int64_t slab = 0; slab < slabs; slab++) {
        for (int64_t pair = begin; pair < end; pair++) {
          const bool is_last = pair + 1 == end;
          const int64_t next_pair = is_last ? begin : pair + 1,
                        next_slab = slab + (is_last ? 1 : 0);
          const char* next = next_slab < slabs ? weight_at(2 * next_pair, next_slab) : nullptr;
          multiply(row, rows, slab, pair, sums_of(pair - begin), next);
        }
      }
    }
    if (is_streamed_) end_stream();
  }

 private:
  char* sums_of(int64_t index) const {
    return sums_ + index * (kInt8TaskRows / kTwoSides) * kInt8BlockBytes;
  }

  const char* weight_at(int64_t panel, int64_t slab) const {
    return static_cast<const char*>(args_.weight) + panel * panel_bytes_ +
           slab * kInt8SlabSteps * kTileBytes;
  }

  /* The last pair may have one panel only: it stands for both, and its second sums are not written. */
  bool has_second(int64_t pair) const { return (2 * pair + 1) * kPanelRows < args_.n; }

  /* Adds the products of a slab; the last slab's sums lie in L1 until they are written to out. */
  void multiply(int64_t row, int64_t rows, int64_t slab, int64_t pair, char* sums,
                const char* next) const {
    const bool is_last = (slab + 1) * kInt8SlabSteps >= left_.steps;
    const PairScales scales = is_last ? scales_of(pair) : PairScales{};
    const int64_t steps = min64(kInt8SlabSteps, left_.steps - slab * kInt8SlabSteps);
    const char* first = weight_at(2 * pair, slab);
    const char* second = has_second(pair) ? weight_at(2 * pair + 1, slab) : first;
    const int64_t blocks = ceil_div(rows, kTwoSides);
    alignas(64) float whole[kTwoSides * kTwoSides];
    for (int64_t i = 0; i < blocks; i++, sums += kInt8BlockBytes) {
      float* block = reinterpret_cast<float*>(sums);
      if (slab > 0) {
        load_sums(block, kTwoSides);
      } else {
        zero_sums();
      }
      if (next != nullptr) prefetch_part(next, i, blocks);
      const int64_t first_row = row + i * kTwoSides;
      const int64_t last_row = min64(row + rows, first_row + kTwoSides);
      for (int64_t r = first_row; is_last && !is_streamed_ && r < last_row; r++) {
        const float* out = out_at(r, pair);
        prefetch(out);
        prefetch(out + kPanelRows);
      }
      multiply_int8_steps(left_.at(slab, first_row / kTwoSides), first, second, steps);
      if (is_last) block = whole;
      store_sums(block, kTwoSides);
      for (int64_t r = first_row; is_last && r < last_row; r++) {
        write(r, pair, reinterpret_cast<const int32_t*>(block) + (r - first_row) * kTwoSides,
              scales);
      }
    }
  }

  /* Asks for part `index` of `parts` of the first panel's next slab, and for the second's. */
  void prefetch_part(const char* next, int64_t index, int64_t parts) const {
    constexpr int64_t kLines = kInt8SlabSteps * kTileBytes / 64;
    for (int64_t i = index * kLines / parts; i < (index + 1) * kLines / parts; i++) {
      prefetch_l2(next + i * 64);
      prefetch_l2(next + panel_bytes_ + i * 64);
    }
  }

  /* Of the weights of a pair of panels. */
  struct PairScales {
    float values[2 * kPanelRows];
  };
  PairScales scales_of(int64_t pair) const {
    PairScales scales = {};
    const int64_t first = 2 * pair * kPanelRows;
    for (int64_t j = 0; j < min64(2 * kPanelRows, args_.n - first); j++) {
      scales.values[j] = args_.weight_scales[first + j];
    }
    return scales;
  }

  /* The columns of a pair in the row of out that a row of digits belongs to. */
  float* out_at(int64_t row, int64_t pair) const {
    return sx::sums_of(args_) + left_.digits.targets[row] * args_.out_stride +
           2 * pair * kPanelRows;
  }

  void write(int64_t row, int64_t pair, const int32_t* sums, const PairScales& scales) const {
    const DigitRows& digits = left_.digits;
    const Write how = args_.accumulate == 1 || row >= args_.m ? Write::kAdd
                      : is_streamed_                          ? Write::kStream
                                                              : Write::kStore;
    for (int64_t side = 0; side < 2; side++) {
      const int64_t columns = min64(kPanelRows, args_.n - (2 * pair + side) * kPanelRows);
      if (columns <= 0) return;
      write_row(out_at(row, pair) + side * kPanelRows, sums + side * kPanelRows,
                digits.offsets[row], digits.scales[row], scales.values + side * kPanelRows, columns,
                how);
    }
  }

  const sx_matmul_params& args_;
  const Int8Left& left_;
  char* sums_; /* [kInt8TaskPairs][kInt8TaskRows / 32][32][32] */
  int64_t panel_bytes_;
  bool is_streamed_;
};

static inline sx_status multiply_int8_by_tiles(Context& context, const sx_matmul_params& args) {
  const int64_t steps = panel_depth(args.k) / kInt8Depth;
  const int64_t blocks = ceil_div(2 * args.m, kTwoSides);
  const int64_t heads = DigitRows::bytes(args.m), tiles = blocks * steps * 2 * kTileBytes;
  const int64_t bytes = context.threads * kInt8SumsBytes + tiles + heads;
  char* memory = static_cast<char*>(scratch(context, bytes));
  if (memory == nullptr) return out_of_scratch(context, "matmul", bytes);
  char* packed = memory + context.threads * kInt8SumsBytes;
  const DigitRows digits(packed + tiles, args.m);
  Int8Left left = {digits, packed, steps, blocks, 0};
  left.rows = args.x_dtype == SX_F32 ? pack_int8_left<float>(context, args, left)
                                     : pack_int8_left<bf16>(context, args, left);
  const int64_t pairs = ceil_div(args.n, 2 * kPanelRows);
  const int64_t grain = max64(1, min64(kInt8TaskPairs, pairs / (4 * context.threads)));
  parallel_for(context, pairs, grain, [&](int64_t begin, int64_t end, int32_t worker) {
    const TileScope scope;
    Int8TileTask(args, left, memory + worker * kInt8SumsBytes).run(begin, end);
  });
  return SX_OK;
}

}  // namespace SX_ISA
}  // namespace sx

#endif
#endif
