/* Scalar twin of embedding. */
#include "values.h"

namespace sx {
namespace scalar {

sx_status embedding(Context&, const sx_embedding_params& args) {
  for (int64_t t = 0; t < args.tokens; t++) {
    for (int64_t d = 0; d < args.dim; d++) {
      args.out[t * args.dim + d] =
          args.scale * read_element(args.table, args.table_dtype, args.ids[t] * args.dim + d);
    }
  }
  return SX_OK;
}

}  // namespace scalar
}  // namespace sx
