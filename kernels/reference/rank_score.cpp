/*
 * Scalar twins of key_mean and rank_score: StarXAttention's antidiagonal score of a rank
 * (zer0-data/StarXAttention c33af48), in double precision.
 */
#include "values.h"

namespace sx {
namespace scalar {

namespace {

/* Row `row` of K' = [anchor_mean, keys] of one head, times query row `q`. */
double product(const sx_rank_score_params& args, const float* q, int64_t kv_head, int64_t row) {
  const float* mean = args.anchor_mean + kv_head * args.head_dim;
  double sum = 0;
  for (int64_t d = 0; d < args.head_dim; d++) {
    const int64_t offset = kv_head * args.head_stride + (row - 1) * args.token_stride + d;
    const float key = row == 0 ? mean[d] : read_element(args.keys, args.kv_dtype, offset);
    sum += static_cast<double>(q[d]) * key;
  }
  return sum;
}

}  // namespace

sx_status key_mean(Context&, const sx_key_mean_params& args) {
  for (int64_t h = 0; h < args.kv_heads; h++) {
    for (int64_t d = 0; d < args.head_dim; d++) {
      double sum = 0;
      for (int64_t t = 0; t < args.tokens; t++) {
        const int64_t offset = h * args.head_stride + t * args.token_stride + d;
        sum += read_element(args.keys, args.kv_dtype, offset);
      }
      args.out[h * args.head_dim + d] = static_cast<float>(sum / static_cast<double>(args.tokens));
    }
  }
  return SX_OK;
}

sx_status rank_score(Context&, const sx_rank_score_params& args) {
  const float* q = static_cast<const float*>(args.q);
  const int64_t length = min64(args.q_tokens, args.key_tokens + 1);
  for (int64_t h = 0; h < args.q_heads; h++) {
    double sum = 0;
    for (int64_t t = 0; t < length; t++) {
      const int64_t partner = t / args.stride * args.stride + args.stride - 1 - t % args.stride;
      if (partner >= length) continue;
      const float* row = q + (t * args.q_heads + h) * args.head_dim;
      sum += product(args, row, h % args.kv_heads, partner);
    }
    args.score[h] = static_cast<float>(sum * args.scale);
  }
  return SX_OK;
}

}  // namespace scalar
}  // namespace sx
