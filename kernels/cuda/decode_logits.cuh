/*
 * How much each tile of keys matters to each query, in powers of two: the first half of decode_select.cu,
 * which says how.
 */
#ifndef SX_CUDA_DECODE_LOGITS_CUH
#define SX_CUDA_DECODE_LOGITS_CUH

#include "element.cuh"
#include "ops.cuh"

namespace sx {
namespace cuda {

using SelectParams = sx_decode_select_params;

/* A thread a key of a tile. */
constexpr int kLogitThreads = SX_TILE, kLogitWarps = kLogitThreads / 32;
/* Rows of queries that meet the codes of a key while it has them as levels. */
constexpr int kLogitRows = 4;
/* Some sequences of a call. */
struct SelectJob {
  SelectParams args;
  float* logits; /* [sequences, kv_heads, rows, index_stride], in powers of two; then the softmax */
  int rows;      /* T * HQ / HK, at least 1 */
};

/* The pooled tiles of a sequence; -1 where its numbers are out of range. */
__device__ inline int tiles_of(const SelectParams& args, int64_t sequence) {
  const int64_t first = args.first_row == nullptr ? 0 : args.first_row[sequence];
  const int64_t tiles = args.pooled_tiles[sequence];
  const bool valid = first >= 0 && first % SX_TILE == 0 && tiles >= 0 &&
                     tiles <= args.index_stride && first / SX_TILE + tiles <= args.mean_capacity;
  return valid ? static_cast<int>(tiles) : -1;
}

/* The largest over a warp, the sum over a warp: the same in all lanes, in an order of their own. */
__device__ inline float warp_largest(float value) {
#pragma unroll
  for (int step = 1; step < 32; step *= 2) {
    value = fmaxf(value, __shfl_xor_sync(~0u, value, step));
  }
  return value;
}
__device__ inline float warp_total(float value) {
#pragma unroll
  for (int step = 1; step < 32; step *= 2) value += __shfl_xor_sync(~0u, value, step);
  return value;
}

/* What the codes of a word say: codes 0 and 3 are far, 0 and 1 below the mean. */
__device__ inline void levels_of(float (&levels)[16], uint32_t word) {
#pragma unroll
  for (int n = 0; n < 16; n++) {
    const uint32_t code = word >> (2 * n) & 3;
    const float size = code == 0 || code == 3 ? SX_CODE_FAR : SX_CODE_NEAR;
    levels[n] = code < 2 ? -size : size;
  }
}

template <int kDim>
__global__ void __launch_bounds__(kLogitThreads)
    logits_kernel(const __grid_constant__ SelectJob job, unsigned stride) {
  __shared__ __align__(16) float factors[kLogitRows][kDim];
  __shared__ float bases[kLogitRows], tops[kLogitWarps][kLogitRows], sums[kLogitWarps][kLogitRows];
  const SelectParams& args = job.args;
  const int group = static_cast<int>(args.q_heads / args.kv_heads);
  const int64_t head = blockIdx.x / stride, sequence = head / args.kv_heads;
  const int64_t kv_head = head % args.kv_heads;
  const int tile = static_cast<int>(blockIdx.x % stride);
  if (tile >= tiles_of(args, sequence)) return;
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int64_t first_row = args.first_row == nullptr ? 0 : args.first_row[sequence] / SX_TILE;
  const int64_t at = kv_head * args.mean_head_stride + (first_row + tile) * kDim;
  const bf16* mean = static_cast<const bf16*>(args.mean_keys) + at;
  const bf16* spread = static_cast<const bf16*>(args.spread) + at;
  const int32_t* words = args.codes + kv_head * args.code_head_stride +
                         ((first_row + tile) * SX_TILE + threadIdx.x) * (kDim / 16);
  uint32_t codes[kDim / 16];
#pragma unroll
  for (int i = 0; i < kDim / 16; i++) codes[i] = static_cast<uint32_t>(words[i]);
  const float scale_log2 = args.scale * 1.44269504088896341f;
  const bf16* q = static_cast<const bf16*>(args.q) +
                  (sequence * args.q_tokens * args.q_heads + kv_head * group) * kDim;
  float* out = job.logits + head * job.rows * args.index_stride + tile;
  const int rows = static_cast<int>(args.q_tokens) * group;
  for (int begin = 0; begin < rows; begin += kLogitRows) {
    __syncthreads(); /* the rows before may still be read */
    static_assert(kLogitWarps == kLogitRows, "a warp prepares a row");
    if (begin + warp < rows) {
      const int row = begin + warp;
      const bf16* from =
          q + (static_cast<int64_t>(row / group) * args.q_heads + row % group) * kDim;
      float base = 0;
#pragma unroll
      for (int d = lane; d < kDim; d += 32) {
        const float query = widen(from[d]) * scale_log2;
        base = fmaf(query, widen(mean[d]), base);
        factors[warp][d] = query * widen(spread[d]);
      }
      base = warp_total(base);
      if (lane == 0) bases[warp] = base;
    } else {
      for (int d = lane; d < kDim; d += 32) factors[warp][d] = 0;
      if (lane == 0) bases[warp] = 0;
    }
    __syncthreads();
    float logits[kLogitRows];
#pragma unroll
    for (int r = 0; r < kLogitRows; r++) logits[r] = bases[r];
#pragma unroll
    for (int i = 0; i < kDim / 16; i++) {
      float levels[16];
      levels_of(levels, codes[i]);
#pragma unroll
      for (int r = 0; r < kLogitRows; r++) {
#pragma unroll
        for (int n = 0; n < 16; n += 8) {
          float factor[8];
          load8(factor, &factors[r][16 * i + n]);
#pragma unroll
          for (int m = 0; m < 8; m++) logits[r] = fmaf(factor[m], levels[n + m], logits[r]);
        }
      }
    }
#pragma unroll
    for (int r = 0; r < kLogitRows; r++) {
      const bool is_bad = !(logits[r] < INFINITY);
      const float top = warp_largest(is_bad ? -INFINITY : logits[r]);
      const float weight = top == -INFINITY ? 0 : exp2f(logits[r] - top);
      /* A sum with NaN or infinity in it is none. */
      const float sum = warp_total(is_bad ? NAN : weight);
      if (lane == 0) {
        tops[warp][r] = top;
        sums[warp][r] = sum;
      }
    }
    __syncthreads();
    if (threadIdx.x < kLogitRows && begin + static_cast<int>(threadIdx.x) < rows) {
      const int row = threadIdx.x;
      float top = -INFINITY, sum = 0;
      for (int i = 0; i < kLogitWarps; i++) top = fmaxf(top, tops[i][row]);
      for (int i = 0; i < kLogitWarps; i++) {
        const float weight = tops[i][row] == -INFINITY ? 1 : exp2f(tops[i][row] - top);
        sum += weight * sums[i][row];
      }
      const float logit = sum == 0 ? -INFINITY : top + log2f(sum);
      out[static_cast<int64_t>(begin + row) * args.index_stride] = logit;
    }
  }
}

}  // namespace cuda
}  // namespace sx

#endif
