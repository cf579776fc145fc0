/*
 * Scalar twin of attention_decode: of each sequence the same sum as attention_dense, over the keys
 * that are in the cache and within the window.
 */
#include "values.h"

namespace sx {
namespace scalar {

sx_status attention_decode(Context&, const sx_attention_decode_params& args) {
  for (int64_t s = 0; s < args.sequences; s++) {
    const AttentionArgs dense = dense_arguments(args, s);
    for (int64_t t = 0; t < args.q_tokens; t++) {
      const int64_t end = visible_keys(dense.q_offset, t, dense.kv.key_tokens);
      const int64_t begin = first_visible(args, end);
      for (int64_t h = 0; h < args.q_heads; h++) {
        ExactRow row(dense, t, h, scales_of(args, s));
        row.find_max(begin, end);
        row.add(begin, end);
        row.write();
      }
    }
  }
  return SX_OK;
}

}  // namespace scalar
}  // namespace sx
