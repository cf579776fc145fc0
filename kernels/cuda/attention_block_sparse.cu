/*
 * Attention over chosen tiles of 128 keys (see sx_attention_block_sparse in ../sx_attention.h;
 * XAttention, arXiv 2503.16428, section 2).
 *
 * The kernel of attention_dense with the row's own list of tiles: those that are not in it are never
 * read. FLOPs 4*D*HQ per visible pair of the chosen tiles. Grid: one block of threads per row of tiles
 * and head.
 */
#include "attention_tile.cuh"

namespace sx {
namespace cuda {

sx_status attention_block_sparse(Context& context, const sx_attention_block_sparse_params& params) {
  const AttentionArgs args = attention_args(params);
  if (args.q_tokens == 0) return SX_OK;
  const char* op = "attend to tiles";
  const AttentionParams kernel = make_params(args);
  if (fits_hopper(context, kernel)) {
    return attention_block_sparse_sm90(context, kernel, args.kv.kv_heads, args.kv.head_dim);
  }
  return args.kv.head_dim == 128 ? launch_attention_tile<128, true>(context, kernel, op)
                                 : launch_attention_tile<64, true>(context, kernel, op);
}

}  // namespace cuda
}  // namespace sx
