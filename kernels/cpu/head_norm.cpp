/*
 * RMSNorm of the heads of each row, in place (see sx_head_norm in ../sx_kernels.h):
 * x[r,h,:] = x[r,h,:] / sqrt(mean(x[r,h,:]^2) + eps) * weight. Accumulates in f32. Bytes rows * heads *
 * dim * 8.
 */
#include <math.h>

#include "ops.h"
#include "simd.h"
#include "thread_pool.h"

namespace sx {
namespace SX_ISA {

namespace {

float square(const float* x, int64_t dim) {
  Vec sum = zero();
  int64_t d = 0;
  for (; d + kLanes <= dim; d += kLanes) sum = fma(load(x + d), load(x + d), sum);
  float total = reduce_add(sum);
  for (; d < dim; d++) total += x[d] * x[d];
  return total;
}

template <class Weight>
void normalize(float* x, const Weight* weight, int64_t dim, float eps) {
  const float factor = 1.0f / sqrtf(square(x, dim) / static_cast<float>(dim) + eps);
  const Vec f = broadcast(factor);
  int64_t d = 0;
  for (; d + kLanes <= dim; d += kLanes) {
    store(x + d, mul(mul(load(x + d), f), load(weight + d)));
  }
  for (; d < dim; d++) x[d] = x[d] * factor * widen(weight[d]);
}

template <class Weight>
void run(Context& context, const sx_head_norm_params& args) {
  const Weight* weight = static_cast<const Weight*>(args.weight);
  parallel_for(context, args.rows, row_grain(args.heads * args.dim * 8),
               [&](int64_t begin, int64_t end, int32_t) {
                 for (int64_t r = begin; r < end; r++) {
                   float* row = args.x + r * args.row_stride;
                   for (int64_t h = 0; h < args.heads; h++) {
                     normalize(row + h * args.dim, weight, args.dim, args.eps);
                   }
                 }
               });
}

}  // namespace

sx_status head_norm(Context& context, const sx_head_norm_params& args) {
  if (args.weight_dtype == SX_F32) {
    run<float>(context, args);
  } else {
    run<bf16>(context, args);
  }
  return SX_OK;
}

}  // namespace SX_ISA
}  // namespace sx
