/* Scalar twin of head_norm; in double precision. */
#include <cmath>

#include "values.h"

namespace sx {
namespace scalar {

sx_status head_norm(Context&, const sx_head_norm_params& args) {
  for (int64_t r = 0; r < args.rows; r++) {
    for (int64_t h = 0; h < args.heads; h++) {
      float* x = args.x + r * args.row_stride + h * args.dim;
      double sum = 0;
      for (int64_t d = 0; d < args.dim; d++) sum += static_cast<double>(x[d]) * x[d];
      const double root = std::sqrt(sum / static_cast<double>(args.dim) + args.eps);
      for (int64_t d = 0; d < args.dim; d++) {
        x[d] = static_cast<float>(x[d] / root * read_element(args.weight, args.weight_dtype, d));
      }
    }
  }
  return SX_OK;
}

}  // namespace scalar
}  // namespace sx
