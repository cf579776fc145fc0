/* Scalar twin of swiglu; in double precision. */
#include <cmath>

#include "values.h"

namespace sx {
namespace scalar {

sx_status swiglu(Context&, const sx_swiglu_params& args) {
  for (int64_t r = 0; r < args.rows; r++) {
    for (int64_t d = 0; d < args.dim; d++) {
      const double gate = args.gate_up[r * 2 * args.dim + d];
      const double up = args.gate_up[r * 2 * args.dim + args.dim + d];
      write_element(args.out, args.out_dtype, r * args.dim + d,
                    static_cast<float>(gate / (1 + std::exp(-gate)) * up));
    }
  }
  return SX_OK;
}

}  // namespace scalar
}  // namespace sx
