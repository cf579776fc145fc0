/*
 * Exact attention with log-sum-exp (see sx_attention_dense in ../sx_attention.h; arXiv 2205.14135).
 *
 * out[t,h,:] = sum over visible j of softmax(scale * q . k[j]) * v[j,:]; f32 sums of bf16 products,
 * weights rounded to bf16. FLOPs 4*D*HQ per visible pair. Grid: one block per 128 queries of a head,
 * longest rows first; see attention_tile.cuh, and attention_sm90.cuh for Hopper's build.
 */
#include "attention_tile.cuh"

namespace sx {
namespace cuda {

sx_status attention_dense(Context& context, const sx_attention_dense_params& params) {
  const AttentionArgs args = attention_args(params);
  if (args.q_tokens == 0) return SX_OK;
  const char* op = "attend";
  const AttentionParams kernel = make_params(args);
  if (fits_hopper(context, kernel)) {
    return attention_dense_sm90(context, kernel, args.kv.kv_heads, args.kv.head_dim);
  }
  return args.kv.head_dim == 128 ? launch_attention_tile<128, false>(context, kernel, op)
                                 : launch_attention_tile<64, false>(context, kernel, op);
}

}  // namespace cuda
}  // namespace sx
