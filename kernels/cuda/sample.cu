/*
 * The largest values of a row (see sx_argmax and sx_top_k in ../sx_kernels.h).
 *
 * A value and its index become one 64-bit number that is larger the earlier the pair comes: the
 * bits of the value in an order without sign above, the inverted index below. NaN lies below every
 * number, and both zeros are one. So that the best is a maximum, and the best after a given one is a
 * maximum of those below it, without a list of what is taken.
 * One block of 1,024 threads a row; reads 4 * count bytes a row, and k times as much for top_k.
 */
#include "element.cuh"
#include "ops.cuh"

namespace sx {
namespace cuda {

namespace {

constexpr int kThreads = 1024;
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

/* The best pair of a row that comes after `last`; the same in all threads. */
__device__ inline Rank best_below(const float* logits, int64_t count, Rank last, Rank* parts) {
  Rank best = 0;
#pragma unroll 8
  for (int64_t i = threadIdx.x; i < count; i += kThreads) {
    const Rank rank = rank_of(logits[i], i);
    if (rank < last) best = larger(best, rank);
  }
#pragma unroll
  for (int lane = 16; lane > 0; lane >>= 1) {
    best = larger(best, __shfl_xor_sync(~0u, best, lane));
  }
  __syncthreads(); /* parts may still be read from the row before */
  if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = best;
  __syncthreads();
  best = parts[0];
#pragma unroll
  for (int warp = 1; warp < kThreads / 32; warp++) best = larger(best, parts[warp]);
  return best;
}

__global__ void __launch_bounds__(kThreads)
argmax_kernel(int32_t* out, const float* logits, int64_t rows, int64_t count) {
  __shared__ Rank parts[kThreads / 32];
  for (int64_t row = blockIdx.x; row < rows; row += gridDim.x) {
    const Rank best = best_below(logits + row * count, count, ~0ull, parts);
    if (threadIdx.x == 0) out[row] = static_cast<int32_t>(index_of(best));
  }
}

__global__ void __launch_bounds__(kThreads)
top_k_kernel(int32_t* out_ids, float* out_values, const float* logits, int64_t count, int64_t k) {
  __shared__ Rank parts[kThreads / 32];
  Rank last = ~0ull;
  for (int64_t n = 0; n < k; n++) {
    last = best_below(logits, count, last, parts);
    if (threadIdx.x != 0) continue;
    out_ids[n] = static_cast<int32_t>(index_of(last));
    out_values[n] = logits[index_of(last)];
  }
}

}  // namespace

sx_status argmax(Context& context, const ArgmaxArgs& args) {
  if (args.rows == 0) return SX_OK;
  argmax_kernel<<<grid_of(args.rows), kThreads, 0, context.stream>>>(args.out, args.logits,
                                                                     args.rows, args.count);
  return launched(context, "choose");
}

sx_status top_k(Context& context, const TopKArgs& args) {
  top_k_kernel<<<1, kThreads, 0, context.stream>>>(args.out_ids, args.out_values, args.logits,
                                                   args.count, args.k);
  return launched(context, "rank");
}

}  // namespace cuda
}  // namespace sx
