/* Scalar twin of kv_expand. */
#include "values.h"

namespace sx {
namespace scalar {

sx_status kv_expand(Context&, const sx_kv_expand_params& args) {
  for (int64_t g = 0; g < args.kv_heads; g++) {
    for (int64_t j = 0; j < args.tokens; j++) {
      const int64_t scale = g * args.scale_head_stride + j;
      for (int64_t d = 0; d < args.head_dim; d++) {
        const int64_t from = g * args.head_stride + j * args.token_stride + d;
        const int64_t to = g * args.out_head_stride + j * args.out_token_stride + d;
        write_element(args.out_keys, args.out_dtype, to,
                      read_element(args.keys, args.kv_dtype, from) * args.key_scales[scale]);
        if (args.out_values == nullptr) continue;
        write_element(args.out_values, args.out_dtype, to,
                      read_element(args.values, args.kv_dtype, from) * args.value_scales[scale]);
      }
    }
  }
  return SX_OK;
}

}  // namespace scalar
}  // namespace sx
