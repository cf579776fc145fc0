/*
 * Attention over chosen blocks of 128 keys (see sx_attention_block_sparse in ../sx_kernels.h;
 * XAttention, arXiv 2503.16428, section 2).
 *
 * The kernel of attention_dense with the row block's own list of tiles: blocks that are not in it
 * are never read. FLOPs 4*D*HQ per visible pair of the chosen blocks. Grid: one block of threads per
 * row block and head.
 */
#include "attention_tile.cuh"

namespace sx {
namespace cuda {

sx_status attention_block_sparse(Context& context, const AttentionArgs& args) {
  if (args.q_tokens == 0) return SX_OK;
  const char* op = "attend to blocks";
  const AttentionParams params = make_params(args);
  if (fits_hopper(context, params)) {
    return attention_block_sparse_sm90(context, params, args.kv.kv_heads, args.kv.head_dim);
  }
  return args.kv.head_dim == 128 ? launch_attention_tile<128, true>(context, params, op)
                                 : launch_attention_tile<64, true>(context, params, op);
}

}  // namespace cuda
}  // namespace sx
