/*
 * Hopper's build of attention_block_sparse.cu: see attention_sm90.cuh. Needs the target sm_90a.
 */
#include "attention_sm90_launch.cuh"

namespace sx {
namespace cuda {

sx_status attention_block_sparse_sm90(Context& context, const AttentionParams& params,
                                      int64_t kv_heads, int64_t head_dim) {
  const char* op = "attend to blocks";
  return head_dim == 128 ? launch_hopper<128, true>(context, params, kv_heads, op)
                         : launch_hopper<64, true>(context, params, kv_heads, op);
}

}  // namespace cuda
}  // namespace sx
