/*
 * Hopper's build of attention_dense.cu: see attention_sm90.cuh. Needs the target sm_90a.
 */
#include "attention_sm90_launch.cuh"

namespace sx {
namespace cuda {

sx_status attention_dense_sm90(Context& context, const AttentionParams& params, int64_t kv_heads,
                               int64_t head_dim) {
  return head_dim == 128 ? launch_hopper<128, false>(context, params, kv_heads, "attend")
                         : launch_hopper<64, false>(context, params, kv_heads, "attend");
}

}  // namespace cuda
}  // namespace sx
