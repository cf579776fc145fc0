/*
 * Products with weights of e4m3 (see sx_matmul in ../sx_kernels.h): out[i,j] (+)= (sum over l x[i,l]
 * weight[j,l]) * weight_scales[j] (* x_scales[i]), for any number of rows.
 *
 * What a GPU computes, on a CPU: for its tests, and for whoever has the weights alone. Rows of x are
 * widened to f32 first, then each row of weights, which meets all rows of x while it is in a cache.
 * The lanes of four vectors add the elements in turn, then the vectors and their lanes, then what is
 * left: one order of every sum, whatever the rows and threads. FLOPs 2*m*n*k; bytes n*k + 8*m*k.
 */
#ifndef SX_CPU_MATMUL_F8_H
#define SX_CPU_MATMUL_F8_H

#include "e4m3.h"
#include "ops.h"
#include "simd.h"
#include "thread_pool.h"

namespace sx {
namespace SX_ISA {

SX_INLINE float dot_wide(const float* x, const float* weight, int64_t k) {
  constexpr int64_t kStep = 4 * kLanes;
  Vec sums[4] = {zero(), zero(), zero(), zero()};
  int64_t l = 0;
  for (; l + kStep <= k; l += kStep) {
    for (int v = 0; v < 4; v++) {
      sums[v] = fma(load(x + l + v * kLanes), load(weight + l + v * kLanes), sums[v]);
    }
  }
  float sum = reduce_add(add(add(sums[0], sums[1]), add(sums[2], sums[3])));
  for (; l < k; l++) sum += x[l] * weight[l];
  return sum;
}

static inline void widen_row(float* out, const sx_matmul_params& args, int64_t i) {
  const int64_t first = i * args.x_stride;
  if (args.x_dtype == SX_F32) {
    __builtin_memcpy(out, static_cast<const float*>(args.x) + first, args.k * sizeof(float));
  } else if (args.x_dtype == SX_BF16) {
    const bf16* x = static_cast<const bf16*>(args.x) + first;
    for (int64_t l = 0; l < args.k; l++) out[l] = widen(x[l]);
  } else {
    const uint8_t* x = static_cast<const uint8_t*>(args.x) + first;
    for (int64_t l = 0; l < args.k; l++) out[l] = widen_e4m3(x[l]);
  }
}

static inline sx_status multiply_f8(Context& context, const sx_matmul_params& args) {
  const int64_t bytes = (args.m + context.threads) * args.k * 4;
  float* x = static_cast<float*>(scratch(context, bytes));
  if (x == nullptr) return out_of_scratch(context, "matmul", bytes);
  float* weights = x + args.m * args.k;
  parallel_for(context, args.m, row_grain(args.k * 6), [&](int64_t begin, int64_t end, int32_t) {
    for (int64_t i = begin; i < end; i++) widen_row(x + i * args.k, args, i);
  });
  const uint8_t* codes = static_cast<const uint8_t*>(args.weight);
  parallel_for(context, args.n, row_grain(args.k), [&](int64_t begin, int64_t end, int32_t worker) {
    float* weight = weights + worker * args.k;
    for (int64_t j = begin; j < end; j++) {
      for (int64_t l = 0; l < args.k; l++) weight[l] = widen_e4m3(codes[j * args.k + l]);
      for (int64_t i = 0; i < args.m; i++) {
        float sum = dot_wide(x + i * args.k, weight, args.k) * args.weight_scales[j];
        if (args.x_scales != nullptr) sum *= args.x_scales[i];
        float* out = sums_of(args) + i * args.out_stride + j;
        *out = args.accumulate == 1 ? *out + sum : sum;
      }
    }
  });
  return SX_OK;
}

}  // namespace SX_ISA
}  // namespace sx

#endif
