/*
 * The largest values of a row (see sx_argmax and sx_top_k in ../sx_kernels.h).
 *
 * A value and its index become one 64-bit number that is larger the earlier the pair comes: the
 * bits of the value in an order without sign above, the inverted index below. NaN lies below every
 * number, and both zeros are one; for argmax what is not finite lies above every number. So that the best is a maximum, and the best after a given one is a
 * maximum of those below it, without a list of what is taken.
 * One block of 1,024 threads for top_k, which reads k times 4 * count bytes. argmax reads a row once: by
 * one block, or if there are few rows by many, whose best pairs a second kernel compares.
 */
#include "element.cuh"
#include "ops.cuh"
#include "overlap.cuh"

namespace sx {
namespace cuda {

namespace {

constexpr int kThreads = 1024;
/* Of a part of a row: enough for every thread to have some loads under way. */
constexpr int64_t kSmallestPart = 4 * kThreads;
using Rank = unsigned long long;

/* At least 1, so that 0 stands for no pair at all. */
__device__ inline Rank rank_of(float value, int64_t index) {
  const uint32_t bits = __float_as_uint(value == 0 ? 0.0f : value);
  const uint32_t ordered = bits & 0x80000000u ? ~bits : bits | 0x80000000u;
  const uint32_t high = isnan(value) ? 0 : ordered;
  return static_cast<Rank>(high) << 32 | ~static_cast<uint32_t>(index);
}
__device__ inline int64_t index_of(Rank rank) { return ~static_cast<uint32_t>(rank); }

__device__ inline Rank larger(Rank a, Rank b) { return a > b ? a : b; }

__device__ inline Rank warp_best(Rank best) {
#pragma unroll
  for (int lane = 16; lane > 0; lane >>= 1) {
    best = larger(best, __shfl_xor_sync(~0u, best, lane));
  }
  return best;
}

/* Above all pairs of numbers. */
constexpr Rank kNotFinite = ~0ull;

/* The number of the best pair, or -1. */
__device__ inline int32_t choice_of(Rank best) {
  return best == kNotFinite ? -1 : static_cast<int32_t>(index_of(best));
}

/* The best pair of a row's elements from `first` to `end` that comes after `last`; the same in all
 * threads. */
template <bool kOnlyFinite>
__device__ inline Rank best_below(const float* logits, int64_t first, int64_t end, Rank last,
                                  Rank* parts) {
  Rank best = 0;
#pragma unroll 8
  for (int64_t i = first + threadIdx.x; i < end; i += kThreads) {
    const float value = logits[i];
    const bool is_out = kOnlyFinite && !isfinite(value);
    const Rank rank = is_out ? kNotFinite : rank_of(value, i);
    if (kOnlyFinite || rank < last) best = larger(best, rank);
  }
  best = warp_best(best);
  __syncthreads(); /* parts may still be read from the row before */
  if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = best;
  __syncthreads();
  best = parts[0];
#pragma unroll
  for (int warp = 1; warp < kThreads / 32; warp++) best = larger(best, parts[warp]);
  return best;
}

/* The best pair of a part of a row; with ranks null rows are whole, and their best index is written. */
__global__ void __launch_bounds__(kThreads)
    argmax_kernel(int32_t* out, Rank* ranks, const float* logits, int64_t rows, int64_t count,
                  int64_t parts) {
  let_next_begin();
  wait_for_previous();
  __shared__ Rank shared[kThreads / 32];
  const int64_t size = ceil_div(count, parts);
  for (int64_t job = blockIdx.x; job < rows * parts; job += gridDim.x) {
    const int64_t row = job / parts, first = job % parts * size;
    const Rank best =
        best_below<true>(logits + row * count, first, min64(count, first + size), 0, shared);
    if (threadIdx.x != 0) continue;
    if (ranks == nullptr) {
      out[row] = choice_of(best);
    } else {
      ranks[job] = best;
    }
  }
}

/* The best of a row's parts, by a warp. */
__global__ void __launch_bounds__(32)
    best_part_kernel(int32_t* out, const Rank* ranks, int64_t parts) {
  let_next_begin();
  wait_for_previous();
  Rank best = 0;
  for (int64_t i = threadIdx.x; i < parts; i += 32) {
    best = larger(best, ranks[blockIdx.x * parts + i]);
  }
  best = warp_best(best);
  if (threadIdx.x == 0) out[blockIdx.x] = choice_of(best);
}

__global__ void __launch_bounds__(kThreads)
    top_k_kernel(int32_t* out_ids, float* out_values, const float* logits, int64_t count,
                 int64_t k) {
  __shared__ Rank parts[kThreads / 32];
  Rank last = ~0ull;
  for (int64_t n = 0; n < k; n++) {
    last = best_below<false>(logits, 0, count, last, parts);
    if (threadIdx.x != 0) continue;
    out_ids[n] = static_cast<int32_t>(index_of(last));
    out_values[n] = logits[index_of(last)];
  }
}

}  // namespace

sx_status argmax(Context& context, const sx_argmax_params& args) {
  if (args.rows == 0) return SX_OK;
  const char* op = "choose";
  /* Parts for as many blocks as there are multiprocessors. */
  const int64_t wanted = context.multiprocessors / args.rows;
  const int64_t parts = max64(1, min64(wanted, args.count / kSmallestPart));
  Rank* ranks = nullptr;
  if (parts > 1) {
    ranks = static_cast<Rank*>(scratch(context, op, args.rows * parts * sizeof(Rank)));
    if (ranks == nullptr) return SX_OUT_OF_MEMORY;
  }
  SX_RETURN_IF_BAD(launch_ahead(context, op, argmax_kernel, grid_of(args.rows * parts), kThreads, 0,
                                args.out, ranks, args.logits, args.rows, args.count, parts));
  if (parts == 1) return SX_OK;
  return launch_ahead(context, op, best_part_kernel, grid_of(args.rows), 32, 0, args.out, ranks,
                      parts);
}

sx_status top_k(Context& context, const sx_top_k_params& args) {
  top_k_kernel<<<1, kThreads, 0, context.stream>>>(args.out_ids, args.out_values, args.logits,
                                                   args.count, args.k);
  return launched(context, "rank");
}

}  // namespace cuda
}  // namespace sx
