/* Scalar twin of rms_norm; the sum of squares in double precision. */
#include <cmath>

#include "values.h"

namespace sx {
namespace scalar {

sx_status rms_norm(Context&, const sx_rms_norm_params& args) {
  for (int64_t r = 0; r < args.rows; r++) {
    float* row = args.residual + r * args.dim;
    double sum = 0;
    for (int64_t d = 0; d < args.dim; d++) {
      if (args.delta != nullptr) row[d] += args.delta[r * args.dim + d];
      sum += static_cast<double>(row[d]) * row[d];
    }
    const double factor = 1 / std::sqrt(sum / static_cast<double>(args.dim) + args.eps);
    for (int64_t d = 0; d < args.dim; d++) {
      const double weight = read_element(args.weight, args.weight_dtype, d);
      write_element(args.out, args.out_dtype, r * args.dim + d,
                    static_cast<float>(row[d] * factor * weight));
    }
  }
  return SX_OK;
}

}  // namespace scalar
}  // namespace sx
