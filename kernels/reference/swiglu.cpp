/* Scalar twin of swiglu; in double precision. */
#include <cmath>

#include "values.h"

namespace sx {
namespace scalar {

sx_status swiglu(Context&, const sx_swiglu_params& args) {
  for (int64_t r = 0; r < args.rows; r++) {
    for (int64_t d = 0; d < args.dim; d++) {
      const int64_t at = r * 2 * args.dim + d;
      const double gate = read_element(args.gate_up, args.gate_up_dtype, at);
      const double up = read_element(args.gate_up, args.gate_up_dtype, at + args.dim);
      write_element(args.out, args.out_dtype, r * args.dim + d,
                    static_cast<float>(gate / (1 + std::exp(-gate)) * up));
    }
  }
  return SX_OK;
}

}  // namespace scalar
}  // namespace sx
