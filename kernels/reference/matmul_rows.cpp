/* Scalar twin of matmul_rows: the same sums as matmul's. */
#include "../cpu/ops.h"

namespace sx {
namespace scalar {

sx_status matmul_rows(Context& context, const sx_matmul_rows_params& args) {
  return matmul(context, args.product);
}

}  // namespace scalar
}  // namespace sx
