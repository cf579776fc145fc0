/*
 * StarXAttention's score of a rank and the anchor's mean key that it needs (see sx_rank_score and
 * sx_key_mean in ../sx_attention.h; zer0-data/StarXAttention c33af48).
 *
 * mean[h,:] = sum over t < tokens of k[t,h,:] / tokens;
 * score[h] = scale * sum over g, r < S of q[g*S + r, h] . K'[g*S + S-1-r, h mod HK], with
 * K' = [mean, keys] and rows from min(T, key_tokens + 1) on being zero.
 * Sums run in f32 over at most 64 rows and are added up in double precision. Bytes read
 * tokens*HK*D*sizeof(k), and 4*T*HQ*D as well for the score; one head per step.
 */
#include "ops.h"
#include "simd.h"
#include "thread_pool.h"

namespace sx {
namespace SX_ISA {

namespace {

/* Rows that are summed in f32 before the sum goes into a double: the rounding of longer f32 sums
 * would grow with their length. */
constexpr int64_t kRows = 64;

template <class Key>
void mean_head(const sx_key_mean_params& args, int64_t head) {
  const Key* keys = static_cast<const Key*>(args.keys) + head * args.head_stride;
  double sums[128] = {};
  for (int64_t first = 0; first < args.tokens; first += kRows) {
    const int64_t end = min64(first + kRows, args.tokens);
    for (int64_t d = 0; d < args.head_dim; d += kLanes) {
      Vec sum = zero();
      for (int64_t t = first; t < end; t++) sum = add(sum, load(keys + t * args.token_stride + d));
      float lanes[kLanes];
      store(lanes, sum);
      for (int i = 0; i < kLanes; i++) sums[d + i] += lanes[i];
    }
  }
  for (int64_t d = 0; d < args.head_dim; d++) {
    args.out[head * args.head_dim + d] =
        static_cast<float>(sums[d] / static_cast<double>(args.tokens));
  }
}

template <class Key>
void score_head(const sx_rank_score_params& args, int64_t head) {
  const int64_t kv_head = head % args.kv_heads;
  const int64_t length = min64(args.q_tokens, args.key_tokens + 1);
  const float* q = static_cast<const float*>(args.q) + head * args.head_dim;
  const float* mean = args.anchor_mean + kv_head * args.head_dim;
  const Key* keys = static_cast<const Key*>(args.keys) + kv_head * args.head_stride;
  double total = 0;
  for (int64_t t = 0; t < length; t++) {
    const int64_t row = t / args.stride * args.stride + args.stride - 1 - t % args.stride;
    if (row >= length) continue;
    Vec sum = zero();
    for (int64_t d = 0; d < args.head_dim; d += kLanes) {
      const Vec key = row == 0 ? load(mean + d) : load(keys + (row - 1) * args.token_stride + d);
      sum = fma(load(q + t * args.q_heads * args.head_dim + d), key, sum);
    }
    total += reduce_add(sum);
  }
  args.score[head] = static_cast<float>(total * args.scale);
}

}  // namespace

sx_status key_mean(Context& context, const sx_key_mean_params& args) {
  parallel_for(context, args.kv_heads, 1, [&](int64_t begin, int64_t end, int32_t) {
    for (int64_t head = begin; head < end; head++) {
      args.kv_dtype == SX_BF16 ? mean_head<bf16>(args, head) : mean_head<float>(args, head);
    }
  });
  return SX_OK;
}

sx_status rank_score(Context& context, const sx_rank_score_params& args) {
  parallel_for(context, args.q_heads, 1, [&](int64_t begin, int64_t end, int32_t) {
    for (int64_t head = begin; head < end; head++) {
      args.kv_dtype == SX_BF16 ? score_head<bf16>(args, head) : score_head<float>(args, head);
    }
  });
  return SX_OK;
}

}  // namespace SX_ISA
}  // namespace sx
