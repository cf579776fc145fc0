/*
 * Chooses the key tiles of every row of tiles by their antidiagonal mass (see sx_select_tiles in
 * ../sx_attention.h; XAttention, arXiv 2503.16428, section 2.1).
 *
 * A warp a row, which it holds in registers: 8 or 32 masses a lane; longer rows stay in the cache.
 * Nothing is sorted: tiles leave in falling order of mass until enough is taken, so that there is
 * one mass of which only some tiles are taken, all larger ones and no smaller one. It is found by
 * bisection over the bits of a float. Both ends of the search move on to the next mass that there is,
 * so that about as many rounds are left as a sorted row would take, and no barrier is between them.
 * Of the tiles that have just this mass the first ones are taken. A scan then writes the numbers in
 * ascending order. By share no search is needed: a tile's mass is compared with that of the
 * row. Sums in f64: masses within 2^19 of each other add up exactly in any order, as in the twin.
 * Bytes 4*heads*q_tiles*key_tiles. Asking for eight masses of a lane at a time, for the row's sum, gained
 * nothing: 0.26 ms for the 16 chunks of 131,072 tokens of 32 heads on an H200, 0.25 without.
 */
#include "../abi/window.h"
#include "element.cuh"
#include "ops.cuh"

namespace sx {
namespace cuda {

namespace {

constexpr int kThreads = 128;
constexpr int kWarps = kThreads / 32;
/* Infinity: the bits of no mass are larger. */
constexpr uint32_t kMaxBits = 0x7f800000u;

/* The bits of a mass, which order masses above 0 as their values do; 0 for all else. */
__device__ inline uint32_t bits_of(float mass) { return mass > 0 ? __float_as_uint(mass) : 0; }

/* A row's masses but for those of the tiles 0 and last, which are always taken. Lane l holds tiles
 * l, l + 32, ..: in registers, or none if kHeld is 0. */
template <int kHeld>
struct Row {
  const float* mass;
  int last, lane;
  uint32_t held[kHeld > 0 ? kHeld : 1];

  __device__ Row(const float* mass, int last)
      : mass(mass), last(last), lane(static_cast<int>(threadIdx.x % 32)) {
#pragma unroll
    for (int i = 0; i < kHeld; i++) held[i] = read(32 * i + lane);
  }
  __device__ uint32_t read(int tile) const {
    return tile > 0 && tile < last ? bits_of(mass[tile]) : 0;
  }
  /* Calls with every tile's number and bits; all lanes together, so that it may vote. */
  template <class Use>
  __device__ void each(Use use) const {
    if constexpr (kHeld > 0) {
#pragma unroll
      for (int i = 0; i < kHeld; i++) use(32 * i + lane, held[i]);
    } else {
      for (int first = 0; first <= last; first += 32) use(first + lane, read(first + lane));
    }
  }
};

/* The tiles of a row that are taken, besides 0 and last. */
struct Choice {
  uint32_t bits; /* all with larger bits */
  int ties;      /* and so many with just these */
};

template <int kHeld>
__device__ inline Choice choose(const Row<kHeld>& row, float threshold) {
  double total = 0;
  for (int tile = row.lane; tile <= row.last; tile += 32) total += row.mass[tile];
  const double wanted = static_cast<double>(threshold) * warp_sum(total);
  const double first = static_cast<double>(row.mass[0]) + row.mass[row.last];
  if (!(first < wanted)) return {kMaxBits, 0};
  /* The smallest bits at which what is larger is not enough. */
  uint32_t low = 0, high = 0;
  row.each([&](int, uint32_t bits) { high = bits > high ? bits : high; });
  high = __reduce_max_sync(~0u, high);
  while (low < high) {
    const uint32_t middle = low + (high - low) / 2;
    double sum = 0;
    uint32_t below = 0, above = kMaxBits;
    row.each([&](int, uint32_t bits) {
      if (bits > middle) {
        sum += __uint_as_float(bits);
        above = bits < above ? bits : above;
      } else {
        below = bits > below ? bits : below;
      }
    });
    if (first + warp_sum(sum) < wanted) {
      below = __reduce_max_sync(~0u, below);
      high = below > low ? below : low;
    } else {
      low = __reduce_min_sync(~0u, above);
    }
  }
  int ties = 0;
  if (low > 0) {
    double above = 0;
    row.each([&](int, uint32_t bits) {
      if (bits > low) above += __uint_as_float(bits);
    });
    const double step = __uint_as_float(low);
    for (double sum = first + warp_sum(above); sum < wanted && ties < row.last; sum += step) ties++;
  }
  return {low, ties};
}

/* Writes the numbers of the taken tiles, which count from `first_tile` on; returns how many. */
template <int kHeld>
__device__ inline int write_row(int32_t* list, const Row<kHeld>& row, Choice choice,
                                int first_tile) {
  int count = 0, ties = 0;
  const unsigned before = (1u << row.lane) - 1;
  row.each([&](int tile, uint32_t bits) {
    const bool is_edge = tile == 0 || tile == row.last;
    const bool is_tie = bits != 0 && bits == choice.bits;
    const unsigned tied = __ballot_sync(~0u, is_tie);
    const bool taken =
        is_edge || bits > choice.bits || (is_tie && ties + __popc(tied & before) < choice.ties);
    const unsigned all = __ballot_sync(~0u, taken);
    if (taken) list[count + __popc(all & before)] = static_cast<int32_t>(first_tile + tile);
    ties += __popc(tied);
    count += __popc(all);
  });
  return count;
}

/* As choose() and write_row(), each tile by its own share; the masses are read where they lie. */
__device__ inline int write_shares(int32_t* list, const float* mass, int last, float threshold,
                                   int first_tile) {
  const int lane = static_cast<int>(threadIdx.x % 32);
  double total = 0;
  for (int tile = lane; tile <= last; tile += 32) total += mass[tile];
  const double wanted = static_cast<double>(threshold) * warp_sum(total);
  int count = 0;
  for (int begin = 0; begin <= last; begin += 32) {
    const int tile = begin + lane;
    const bool taken = tile == last || (tile < last && mass[tile] >= wanted);
    const unsigned all = __ballot_sync(~0u, taken);
    if (taken) list[count + __popc(all & ((1u << lane) - 1))] = first_tile + tile;
    count += __popc(all);
  }
  return count;
}

template <int kHeld>
__global__ void __launch_bounds__(kThreads)
    select_kernel(const __grid_constant__ sx_select_tiles_params args) {
  const int64_t rows = args.heads * args.q_tiles, step = static_cast<int64_t>(gridDim.x) * kWarps;
  const int lane = threadIdx.x % 32;
  int64_t row = static_cast<int64_t>(blockIdx.x) * kWarps + threadIdx.x / 32;
  for (; row < rows; row += step) {
    int32_t* list = args.indices + row * args.index_stride;
    const Window window = {args.window, args.prefix_tokens, args.prefix_gap};
    const int64_t row_tile = args.first_tile + row % args.q_tiles;
    const int first = static_cast<int>(window.first_tile(row_tile));
    const int last = static_cast<int>(row_tile) - first;
    const float threshold =
        args.head_thresholds == nullptr ? args.threshold : args.head_thresholds[row / args.q_tiles];
    int count = last + 1;
    if (args.by_share == 1) {
      const float* mass = args.mass + row * args.key_tiles + first;
      count = write_shares(list, mass, last, threshold, first);
    } else if (threshold >= 1) {
      for (int tile = lane; tile <= last; tile += 32) list[tile] = first + tile;
    } else {
      const Row<kHeld> masses(args.mass + row * args.key_tiles + first, last);
      count = write_row(list, masses, choose(masses, threshold), first);
    }
    if (lane == 0) args.counts[row] = count;
  }
}

}  // namespace

sx_status select_tiles(Context& context, const sx_select_tiles_params& args) {
  const int64_t rows = args.heads * args.q_tiles;
  if (rows == 0) return SX_OK;
  const auto kernel = args.key_tiles <= 8 * 32    ? select_kernel<8>
                      : args.key_tiles <= 32 * 32 ? select_kernel<32>
                                                  : select_kernel<0>;
  kernel<<<grid_of(ceil_div(rows, kWarps)), kThreads, 0, context.stream>>>(args);
  return launched(context, "choose tiles");
}

}  // namespace cuda
}  // namespace sx
