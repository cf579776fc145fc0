/*
 * Scalar twin of attention_decode: the same sum as attention_dense, over the keys that are in the
 * cache.
 */

#include "../cpu/attention.h"

namespace sx {
namespace scalar {

sx_status attention_decode(Context& context, const DecodeArgs& args) {
  return attention_dense(context, dense_arguments(args));
}

}  // namespace scalar
}  // namespace sx
