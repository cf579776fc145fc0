/*
 * RMSNorm with the residual added first (arXiv 1910.07467; see sx_rms_norm in ../sx_kernels.h):
 * out = residual / sqrt(mean(residual^2) + eps) * weight. Accumulates in f32, a row per thread.
 * Bytes rows * dim * (4 + sizeof(out)), and 8 more per element with a delta; FLOPs 4 * rows * dim.
 */
#include <math.h>

#include "ops.h"
#include "simd.h"
#include "thread_pool.h"

namespace sx {
namespace SX_ISA {

namespace {

/* Adds delta if there is one, and returns the sum of squares. */
float add_and_square(float* row, const float* delta, int64_t dim) {
  Vec sum = zero();
  int64_t d = 0;
  for (; d + kLanes <= dim; d += kLanes) {
    Vec x = load(row + d);
    if (delta != nullptr) {
      x = add(x, load(delta + d));
      store(row + d, x);
    }
    sum = fma(x, x, sum);
  }
  float total = reduce_add(sum);
  for (; d < dim; d++) {
    if (delta != nullptr) row[d] += delta[d];
    total += row[d] * row[d];
  }
  return total;
}

template <class Out, class Weight>
void scale_row(Out* out, const float* row, const Weight* weight, int64_t dim, float factor) {
  const Vec f = broadcast(factor);
  int64_t d = 0;
  for (; d + kLanes <= dim; d += kLanes) {
    store(out + d, mul(mul(load(row + d), f), load(weight + d)));
  }
  for (; d < dim; d++) put(out + d, row[d] * factor * widen(weight[d]));
}

template <class Out, class Weight>
void run(Context& context, const sx_rms_norm_params& args) {
  parallel_for(
      context, args.rows, row_grain(args.dim * 8), [&](int64_t begin, int64_t end, int32_t) {
        for (int64_t r = begin; r < end; r++) {
          float* row = args.residual + r * args.dim;
          const float* delta = args.delta == nullptr ? nullptr : args.delta + r * args.dim;
          const float mean = add_and_square(row, delta, args.dim) / static_cast<float>(args.dim);
          scale_row(static_cast<Out*>(args.out) + r * args.dim, row,
                    static_cast<const Weight*>(args.weight), args.dim,
                    1.0f / sqrtf(mean + args.eps));
        }
      });
}

}  // namespace

sx_status rms_norm(Context& context, const sx_rms_norm_params& args) {
  if (args.out_dtype == SX_F32) {
    if (args.weight_dtype == SX_F32) {
      run<float, float>(context, args);
    } else {
      run<float, bf16>(context, args);
    }
  } else if (args.weight_dtype == SX_F32) {
    run<bf16, float>(context, args);
  } else {
    run<bf16, bf16>(context, args);
  }
  return SX_OK;
}

}  // namespace SX_ISA
}  // namespace sx
