/*
 * Chooses the key blocks of every row block by their antidiagonal mass (see sx_select_blocks in
 * ../sx_kernels.h; XAttention, arXiv 2503.16428, section 2.1).
 *
 * One block of 256 threads a row. Nothing is sorted: blocks leave in falling order of mass until
 * enough is taken, so that there is one mass of which only some blocks are taken, all larger ones
 * and no smaller one. It is found by bisection over the bits of a float, 31 sums over the row, which
 * stays in the cache; of the blocks that have just this mass the first ones are taken. A scan then
 * writes the numbers in ascending order. Sums in f64: masses within 2^19 of each other add up
 * exactly in any order, as in the twin. Bytes 4*heads*q_blocks*key_blocks; shared memory 96.
 */
#include "element.cuh"
#include "ops.cuh"

namespace sx {
namespace cuda {

namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / 32;
/* Infinity: the bits of no mass are larger. */
constexpr uint32_t kMaxBits = 0x7f800000u;

/* What one block shares. */
struct Shared {
  double sums[kWarps];
  int32_t counts[kWarps];
};

/* The bits of a mass, which order masses above 0 as their values do; 0 for all else. */
__device__ inline uint32_t bits_of(float mass) { return mass > 0 ? __float_as_uint(mass) : 0; }

/* How many of the threads before this one hold true, and of all; the same order as the threads'. */
__device__ inline int count_before(bool value, int& total, Shared& shared) {
  const unsigned votes = __ballot_sync(~0u, value);
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  __syncthreads();
  if (lane == 0) shared.counts[warp] = __popc(votes);
  __syncthreads();
  int before = __popc(votes & ((1u << lane) - 1));
  total = 0;
#pragma unroll
  for (int i = 0; i < kWarps; i++) {
    if (i < warp) before += shared.counts[i];
    total += shared.counts[i];
  }
  return before;
}

/* The mass of the blocks 1..last-1 whose bits are above `bits`. */
__device__ inline double mass_above(const float* mass, int64_t last, uint32_t bits,
                                    Shared& shared) {
  double sum = 0;
  for (int64_t block = 1 + threadIdx.x; block < last; block += kThreads) {
    if (bits_of(mass[block]) > bits) sum += mass[block];
  }
  return block_sum<kThreads>(sum, shared.sums);
}

/* The blocks of a row that are taken, besides 0 and last. */
struct Choice {
  uint32_t bits; /* all with larger bits */
  int ties;      /* and so many with just these */
};

__device__ inline Choice choose(const float* mass, int64_t last, float threshold, Shared& shared) {
  double total = 0;
  for (int64_t block = threadIdx.x; block <= last; block += kThreads) total += mass[block];
  const double wanted = static_cast<double>(threshold) * block_sum<kThreads>(total, shared.sums);
  const double first = static_cast<double>(mass[0]) + mass[last];
  if (!(first < wanted)) return {kMaxBits, 0};
  /* The smallest bits at which what is larger is not enough. */
  uint32_t low = 0, high = kMaxBits;
  while (low < high) {
    const uint32_t middle = low + (high - low) / 2;
    if (first + mass_above(mass, last, middle, shared) < wanted) {
      high = middle;
    } else {
      low = middle + 1;
    }
  }
  const double above = first + mass_above(mass, last, low, shared);
  int ties = 0;
  if (low > 0) {
    const double step = __uint_as_float(low);
    for (double sum = above; sum < wanted && ties < last; sum += step) ties++;
  }
  return {low, ties};
}

/* Writes the numbers of the taken blocks; returns how many. */
__device__ inline int write_row(int32_t* list, const float* mass, int64_t last, Choice choice,
                                Shared& shared) {
  int count = 0, ties = 0;
  for (int64_t first = 0; first <= last; first += kThreads) {
    const int64_t block = first + threadIdx.x;
    const bool is_edge = block == 0 || block == last;
    const uint32_t bits = block <= last && !is_edge ? bits_of(mass[block]) : 0;
    const bool is_tie = bits != 0 && bits == choice.bits;
    int ties_here = 0, taken_here = 0;
    const int tie = ties + count_before(is_tie, ties_here, shared);
    const bool taken = is_edge || bits > choice.bits || (is_tie && tie < choice.ties);
    const int at = count + count_before(taken, taken_here, shared);
    if (taken) list[at] = static_cast<int32_t>(block);
    ties += ties_here;
    count += taken_here;
  }
  return count;
}

__global__ void __launch_bounds__(kThreads)
select_kernel(const __grid_constant__ SelectArgs args) {
  __shared__ Shared shared;
  for (int64_t row = blockIdx.x; row < args.heads * args.q_blocks; row += gridDim.x) {
    const float* mass = args.mass + row * args.key_blocks;
    int32_t* list = args.indices + row * args.index_stride;
    const int64_t last = args.first_block + row % args.q_blocks;
    int count = static_cast<int>(last + 1);
    if (args.threshold >= 1) {
      for (int64_t block = threadIdx.x; block <= last; block += kThreads) {
        list[block] = static_cast<int32_t>(block);
      }
    } else {
      const Choice choice = choose(mass, last, args.threshold, shared);
      count = write_row(list, mass, last, choice, shared);
    }
    if (threadIdx.x == 0) args.counts[row] = count;
  }
}

}  // namespace

sx_status select_blocks(Context& context, const SelectArgs& args) {
  const int64_t rows = args.heads * args.q_blocks;
  if (rows == 0) return SX_OK;
  select_kernel<<<grid_of(rows), kThreads, 0, context.stream>>>(args);
  return launched(context, "choose blocks");
}

}  // namespace cuda
}  // namespace sx
