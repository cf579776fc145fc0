/* Scalar twin of add. */
#include "../cpu/ops.h"

namespace sx {
namespace scalar {

sx_status add(Context&, const sx_add_params& args) {
  for (int64_t r = 0; r < args.rows; r++) {
    for (int64_t d = 0; d < args.dim; d++) {
      args.out[r * args.out_stride + d] += args.in[r * args.in_stride + d];
    }
  }
  return SX_OK;
}

}  // namespace scalar
}  // namespace sx
