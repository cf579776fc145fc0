/*
 * How the products of few rows (matmul_rows.cpp) meet weights: a group of rows and some columns, a slab of
 * depth at a time.
 */
#ifndef SX_CPU_MATMUL_ROWS_SLABS_H
#define SX_CPU_MATMUL_ROWS_SLABS_H

#include <type_traits>

#include "matmul_rows_dots.h"
#include "ops.h"
#include "simd.h"

namespace sx {
namespace SX_ISA {

namespace {

/* What a slab of a group of rows takes: half of L1, or a quarter where a tile's weights are read twice and
 * the next ones wait beside them.
 * 8 rows of the 1B shape's products by pairs of bf16 on two cores of a Zen 5: 52 ms, 61 with all the depth at
 * once and weights asked for into L2. */
constexpr int64_t kSlabBytes = kLanes == 8 ? 1 << 13 : 1 << 14;

/* How the depth is cut into slabs for several rows. */
template <class Dots>
struct Slabs {
  static constexpr int64_t kDepth =
      kSlabBytes / (Dots::kRows * static_cast<int64_t>(sizeof(typename Dots::X)));

  /* most: elements of a slab. */
  Slabs(int64_t k, int64_t most)
      : count(max64(1, ceil_div(k, most))), depth(round_up(ceil_div(k, count), Dots::kStep)) {}

  int64_t count, depth;
};

/* Where a group of rows meets some columns at one slab of depth. */
template <class Dots>
struct Tile {
  const typename Dots::X* x;           /* packed, from the slab on */
  const typename Dots::Weight* weight; /* of the first column, from the slab on */
  const char* next;                    /* weights that are read some tiles later; null: none */
  typename Dots::Sum* sums;            /* [rows][columns], of the slabs before */
  int64_t steps;
  bool is_first, is_last; /* slab */
};

/* R rows from row i on by C columns from j on. kCut: see cuts_lines(). Discarded, 5 % slower as compiled: the
 * loop over a slab as a function of its own. */
template <class Dots, int R, int C, bool kCut>
void multiply_tile(const sx_matmul_params& args, const Tile<Dots>& tile, int64_t i, int64_t j) {
  using Weight = typename Dots::Weight;
  constexpr int64_t kStep = Dots::kStep, kStepBytes = kStep * int64_t{sizeof(Weight)};
  const int64_t row_bytes = args.k * static_cast<int64_t>(sizeof(Weight));
  typename Dots::Sum sums[R][C];
#pragma GCC unroll 8
  for (int r = 0; r < R; r++) {
#pragma GCC unroll 4
    for (int c = 0; c < C; c++) {
      if (tile.is_first) {
        Dots::clear(sums[r][c]);
      } else {
        sums[r][c] = tile.sums[r * C + c];
      }
    }
  }
  const typename Dots::X* x = tile.x;
  const Weight* weight = tile.weight;
  const auto add_slab = [&](auto asks) {
    std::conditional_t<kCut, Lines<C>, NoLines> lines(weight, row_bytes);
    for (int64_t step = 0; step < tile.steps; step++, x += R * kStep) {
      typename Dots::Pair weights[C];
#pragma GCC unroll 4
      for (int c = 0; c < C; c++) {
        if constexpr (decltype(asks)::value) {
          const char* next = tile.next + c * row_bytes + step * kStepBytes;
          for (int64_t byte = 0; byte < kStepBytes; byte += kLine) prefetch(next + byte);
        }
        if constexpr (kCut) {
          weights[c] = Dots::of_line(lines.next(c, step * kStepBytes));
        } else {
          weights[c] = Dots::load_weight(weight + c * args.k + step * kStep);
        }
      }
#pragma GCC unroll 8
      for (int r = 0; r < R; r++) {
        const typename Dots::Pair row = Dots::load_x(x + r * kStep);
#pragma GCC unroll 4
        for (int c = 0; c < C; c++) Dots::multiply(sums[r][c], row, weights[c]);
      }
    }
  };
  if (tile.next != nullptr) {
    add_slab(std::true_type());
  } else {
    add_slab(std::false_type());
  }
  if (!tile.is_last) {
#pragma GCC unroll 8
    for (int r = 0; r < R; r++) {
#pragma GCC unroll 4
      for (int c = 0; c < C; c++) tile.sums[r * C + c] = sums[r][c];
    }
    return;
  }
  const int64_t l = tile.steps * kStep, left = args.k % kStep;
#pragma GCC unroll 8
  for (int r = 0; r < R; r++) {
#pragma GCC unroll 4
    for (int c = 0; c < C; c++) {
      const float sum = Dots::finish(sums[r][c], x + r * left, weight + c * args.k + l, left);
      float* out = sums_of(args) + (i + r) * args.out_stride + j + c;
      *out = args.accumulate == 1 ? *out + sum : sum;
    }
  }
}

/* Asks for C rows of weights of a later tile, a line at a time. */
template <int C>
class Asking {
 public:
  SX_INLINE_METHOD Asking(const char* next, int64_t row_bytes, int64_t slab_bytes)
      : at_(next),
        lines_(slab_bytes / kLine + 1),
        left_(lines_),
        skip_(row_bytes - lines_ * kLine) {}
  SX_INLINE_METHOD void ask() {
    prefetch(at_);
    at_ += kLine;
    if (--left_ > 0) return;
    at_ += skip_;
    left_ = lines_;
  }

 private:
  const char* at_;
  int64_t lines_, left_, skip_;
};

/* As multiply_tile(), for sums that do not fit the registers: the even vectors of the slab come first, then
 * the odd ones, so that each sum adds in the same order. In between sums lie in tile.sums.
 * GFLOP/s of one core of a Zen 1 (8 rows, weights of 2,048 by 4,096): 24, and 19 with two rows and two columns
 * at a time; 6 rows by 2 columns 20 (8 rows are 6 and 2), slabs of 16 KiB 23. */
template <class Dots, int R, int C>
void multiply_tile_by_halves(const sx_matmul_params& args, const Tile<Dots>& tile, int64_t i,
                             int64_t j) {
  using Weight = typename Dots::Weight;
  constexpr int64_t kStep = Dots::kStep, kStepBytes = kStep * int64_t{sizeof(Weight)};
  const int64_t row_bytes = args.k * static_cast<int64_t>(sizeof(Weight));
  Asking<C> asking(tile.next, row_bytes, tile.steps * kStepBytes);
  const auto add_half = [&](auto asks, int half) {
    Vec sums[R][C];
#pragma GCC unroll 8
    for (int r = 0; r < R; r++) {
#pragma GCC unroll 4
      for (int c = 0; c < C; c++) {
        sums[r][c] = tile.is_first ? zero() : Dots::half_of(tile.sums[r * C + c], half);
      }
    }
    const typename Dots::X* x = tile.x + half * kLanes;
    const Weight* weight = tile.weight + half * kLanes;
    for (int64_t step = 0; step < tile.steps; step++, x += R * kStep, weight += kStep) {
      if constexpr (decltype(asks)::value) asking.ask();
      Vec weights[C];
#pragma GCC unroll 4
      for (int c = 0; c < C; c++) weights[c] = load(weight + c * args.k);
#pragma GCC unroll 8
      for (int r = 0; r < R; r++) {
        const Vec row = load(x + r * kStep);
#pragma GCC unroll 4
        for (int c = 0; c < C; c++) sums[r][c] = fma(row, weights[c], sums[r][c]);
      }
    }
#pragma GCC unroll 8
    for (int r = 0; r < R; r++) {
#pragma GCC unroll 4
      for (int c = 0; c < C; c++) Dots::half_of(tile.sums[r * C + c], half) = sums[r][c];
    }
  };
  for (int half = 0; half < 2; half++) {
    if (tile.next != nullptr) {
      add_half(std::true_type(), half);
    } else {
      add_half(std::false_type(), half);
    }
  }
  if (!tile.is_last) return;
  const int64_t l = tile.steps * kStep, left = args.k % kStep;
  for (int r = 0; r < R; r++) {
    for (int c = 0; c < C; c++) {
      const float sum = Dots::finish(tile.sums[r * C + c], tile.x + R * l + r * left,
                                     tile.weight + c * args.k + l, left);
      float* out = sums_of(args) + (i + r) * args.out_stride + j + c;
      *out = args.accumulate == 1 ? *out + sum : sum;
    }
  }
}

/* The same for `rows` rows, at most R. */
template <class Dots, int R, int C, bool kCut>
void multiply_rows(const sx_matmul_params& args, const Tile<Dots>& tile, int64_t i, int64_t j,
                   int64_t rows) {
  if constexpr (R > 1) {
    if (rows < R) return multiply_rows<Dots, R - 1, C, kCut>(args, tile, i, j, rows);
  }
  if constexpr (Dots::kByHalves && R * C > 4) {
    multiply_tile_by_halves<Dots, R, C>(args, tile, i, j);
  } else {
    multiply_tile<Dots, R, C, kCut>(args, tile, i, j);
  }
}

}  // namespace

}  // namespace SX_ISA
}  // namespace sx

#endif
