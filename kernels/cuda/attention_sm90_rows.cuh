/*
 * The rows of Hopper's attention kernel: what their weights are relative to, and how they are written.
 */
#ifndef SX_CUDA_ATTENTION_SM90_ROWS_CUH
#define SX_CUDA_ATTENTION_SM90_ROWS_CUH

#include "attention_sm90_parts.cuh"

namespace sx {
namespace cuda {

/* A row's reference stays while no logit exceeds it by more than this power of two: weights are then at
 * most 256, which bf16 holds as well as those below 1. */
constexpr float kSlackLog2 = 8;

/* Of the two rows of a thread: the logit, before scaling, that weights are relative to, and the sum of
 * the weights of the thread's columns. */
struct RowSums {
  float reference[2] = {-INFINITY, -INFINITY};
  float sum[2] = {0, 0};
};

/* Of the four lanes of a quad: word i of lane j becomes word j of lane i. */
__device__ inline void transpose_quad(uint32_t (&words)[4]) {
  const bool odd = threadIdx.x % 2 != 0, high = threadIdx.x % 4 >= 2;
#pragma unroll
  for (int i = 0; i < 4; i += 2) {
    const uint32_t got = __shfl_xor_sync(~0u, odd ? words[i] : words[i + 1], 1);
    (odd ? words[i] : words[i + 1]) = got;
  }
#pragma unroll
  for (int i = 0; i < 2; i++) {
    const uint32_t got = __shfl_xor_sync(~0u, high ? words[i] : words[i + 2], 2);
    (high ? words[i] : words[i + 2]) = got;
  }
}

/* Writes what a thread holds of a row in bf16, 16 bytes of every 64 of it; all lanes come together. */
template <int kDim>
__device__ inline void write_bf16(bf16* row, const float (&out)[kDim / 2], int half, float inverse,
                                  bool is_there) {
#pragma unroll
  for (int n = 0; n < kDim / 8; n += 4) {
    uint32_t words[4];
#pragma unroll
    for (int i = 0; i < 4; i++) {
      const int at = 4 * (n + i) + 2 * half;
      words[i] = pack_bf16(out[at] * inverse, out[at + 1] * inverse);
    }
    transpose_quad(words);
    if (!is_there) continue;
    *reinterpret_cast<uint4*>(row + (n + threadIdx.x % 4) * 8) =
        make_uint4(words[0], words[1], words[2], words[3]);
  }
}

/* Writes a thread's parts of two rows of a job. */
template <int kDim>
__device__ inline void write_rows(const AttentionParams& params, const HopperJob& job,
                                  const float (&out)[kDim / 2], const RowSums& rows,
                                  int row_in_block) {
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int half = 0; half < 2; half++) {
    const float sum = quad_sum(rows.sum[half]);
    const int64_t t = static_cast<int64_t>(job.q_block) * kRowBlock + row_in_block + half * 8;
    const int64_t row = t * params.q_heads + job.head;
    const bool is_there = t < params.q_tokens;
    /* NaN stays NaN. */
    const float inverse = sum == 0 ? 0 : 1 / sum;
    if (params.out_dtype == SX_BF16) {
      write_bf16<kDim>(static_cast<bf16*>(params.out) + row * kDim, out, half, inverse, is_there);
    } else if (is_there) {
      float* to = static_cast<float*>(params.out) + row * kDim + lane % 4 * 2;
#pragma unroll
      for (int n = 0; n < kDim / 8; n++) {
        *reinterpret_cast<float2*>(to + n * 8) =
            make_float2(out[4 * n + 2 * half] * inverse, out[4 * n + 2 * half + 1] * inverse);
      }
    }
    if (params.lse_log2 != nullptr && lane % 4 == 0 && is_there) {
      params.lse_log2[row] =
          sum == 0 ? -INFINITY : rows.reference[half] * params.scale_log2 + log2f(sum);
    }
  }
}

}  // namespace cuda
}  // namespace sx

#endif
