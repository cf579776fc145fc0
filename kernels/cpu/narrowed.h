/*
 * Products whose results are bf16: their sums are made in f32, some rows at a time, and rounded.
 */
#ifndef SX_CPU_NARROWED_H
#define SX_CPU_NARROWED_H

#include <stdlib.h>

#include "ops.h"

namespace sx {

/* By an op that makes f32 of the same product. Each instruction set has its own. */
template <class Multiply>
static sx_status narrowed(Context& context, const sx_matmul_params& args, Multiply multiply) {
  constexpr int64_t kRows = 512;
  const int64_t most = args.m < kRows ? args.m : kRows;
  const int64_t bytes = most * args.n * 4;
  float* sums = static_cast<float*>(malloc(static_cast<size_t>(bytes)));
  if (sums == nullptr) return out_of_scratch(context, "matmul", bytes);
  const int64_t x_bytes = args.x_dtype == SX_F32 ? 4 : args.x_dtype == SX_BF16 ? 2 : 1;
  sx_status status = SX_OK;
  for (int64_t first = 0; status == SX_OK && first < args.m; first += kRows) {
    sx_matmul_params part = args;
    part.out = sums;
    part.out_dtype = SX_F32;
    part.out_stride = args.n;
    part.x = static_cast<const char*>(args.x) + first * args.x_stride * x_bytes;
    part.x_scales = args.x_scales == nullptr ? nullptr : args.x_scales + first;
    part.m = args.m - first < kRows ? args.m - first : kRows;
    status = multiply(context, part);
    for (int64_t i = 0; status == SX_OK && i < part.m; i++) {
      bf16* out = static_cast<bf16*>(args.out) + (first + i) * args.out_stride;
      for (int64_t j = 0; j < args.n; j++) out[j] = narrow_bf16(sums[i * args.n + j]);
    }
  }
  free(sums);
  return status;
}

}  // namespace sx

#endif
