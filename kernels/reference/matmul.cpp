/* Scalar twin of matmul; sums in double precision. */
#include "values.h"

namespace sx {
namespace scalar {

sx_status matmul(Context&, const sx_matmul_params& args) {
  for (int64_t i = 0; i < args.m; i++) {
    for (int64_t j = 0; j < args.n; j++) {
      double sum = 0;
      for (int64_t l = 0; l < args.k; l++) {
        sum += static_cast<double>(read_element(args.x, args.x_dtype, i * args.x_stride + l)) *
               read_element(args.weight, args.weight_dtype, j * args.k + l);
      }
      float* out = args.out + i * args.out_stride + j;
      *out = static_cast<float>(args.accumulate ? *out + sum : sum);
    }
  }
  return SX_OK;
}

}  // namespace scalar
}  // namespace sx
