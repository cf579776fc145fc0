/*
 * Scalar twin of attention_dense: two passes over the visible keys of every query and head.
 * out[t,h,:] = sum over j <= q_offset + t of softmax(scale * q . k[j]) * v[j,:]; double precision.
 */
#include "values.h"

namespace sx {
namespace scalar {

sx_status attention_dense(Context&, const sx_attention_dense_params& params) {
  const AttentionArgs args = attention_args(params);
  for (int64_t t = 0; t < args.q_tokens; t++) {
    const int64_t visible = visible_keys(args.q_offset, t, all_keys(args.kv));
    const int64_t first = first_visible(args, t);
    for (int64_t h = 0; h < args.q_heads; h++) {
      ExactRow row(args, t, h);
      row.find_max(first, visible);
      row.add(first, visible);
      row.write();
    }
  }
  return SX_OK;
}

}  // namespace scalar
}  // namespace sx
