/*
 * Sums of rows (see sx_add in ../sx_kernels.h): out[r,:] += in[r,:], or a bias that is the same for all.
 * Bytes rows * dim * 12.
 */
#include "ops.h"
#include "simd.h"
#include "thread_pool.h"

namespace sx {
namespace SX_ISA {

namespace {

void add_row(float* out, const float* in, int64_t dim) {
  int64_t d = 0;
  for (; d + kLanes <= dim; d += kLanes) store(out + d, add(load(out + d), load(in + d)));
  for (; d < dim; d++) out[d] += in[d];
}

}  // namespace

sx_status add(Context& context, const sx_add_params& args) {
  parallel_for(context, args.rows, row_grain(args.dim * 12),
               [&](int64_t begin, int64_t end, int32_t) {
                 for (int64_t r = begin; r < end; r++) {
                   add_row(args.out + r * args.out_stride, args.in + r * args.in_stride, args.dim);
                 }
               });
  return SX_OK;
}

}  // namespace SX_ISA
}  // namespace sx
