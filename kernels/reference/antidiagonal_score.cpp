/*
 * Scalar twin of antidiagonal_score (XAttention, arXiv 2503.16428, section 2.1): the logits of a
 * row of groups twice, first for their maximum and sum, then for the mass of every cell.
 */
#include <cmath>

#include "values.h"

namespace sx {
namespace scalar {

namespace {

/* logits[i][j] of query group i (of this call) and key group j; rows past the end are zero. */
double group_logit(const sx_antidiagonal_score_params& args, int64_t head, int64_t i, int64_t j) {
  const int64_t dim = args.kv.head_dim;
  const int64_t kv_head = head / (args.q_heads / args.kv.kv_heads);
  double sum = 0;
  for (int64_t s = 0; s < args.stride; s++) {
    const int64_t token = i * args.stride + args.stride - 1 - s;
    const int64_t key = j * args.stride + s;
    if (token >= args.q_tokens || key >= all_keys(args.kv)) continue;
    const float* q = static_cast<const float*>(args.q) + (token * args.q_heads + head) * dim;
    const char* k = key_address(args.kv, kv_head, key);
    for (int64_t d = 0; d < dim; d++) {
      sum += static_cast<double>(q[d]) * read_element(k, args.kv.dtype, d);
    }
  }
  return sum * args.scale / static_cast<double>(args.stride);
}

}  // namespace

sx_status antidiagonal_score(Context&, const sx_antidiagonal_score_params& args) {
  const int64_t q_tiles = ceil_div(args.q_tokens, SX_TILE);
  const int64_t key_tiles = ceil_div(all_keys(args.kv), SX_TILE);
  const int64_t cell = SX_TILE / args.stride;
  /* The groups that hold a token at all: the others are the padding that is left out. */
  const int64_t q_groups = ceil_div(args.q_tokens, args.stride);
  const int64_t first_group = args.q_offset / args.stride;
  for (int64_t h = 0; h < args.q_heads; h++) {
    float* head_mass = args.mass + h * q_tiles * key_tiles;
    for (int64_t n = 0; n < q_tiles * key_tiles; n++) head_mass[n] = 0;
    for (int64_t i = 0; i < q_groups; i++) {
      const int64_t last = first_group + i;
      const int64_t first_tile = window_of(args.kv, args.window).first_tile(last / cell);
      const int64_t first = first_tile * cell;
      double max = -INFINITY;
      for (int64_t j = first; j <= last; j++) max = std::fmax(max, group_logit(args, h, i, j));
      double sum = 0;
      for (int64_t j = first; j <= last; j++) sum += std::exp(group_logit(args, h, i, j) - max);
      float* row = head_mass + i / cell * key_tiles;
      for (int64_t tile = first_tile; tile * cell <= last; tile++) {
        double mass = 0;
        for (int64_t j = tile * cell; j < (tile + 1) * cell && j <= last; j++) {
          mass += std::exp(group_logit(args, h, i, j) - max) / sum;
        }
        row[tile] += static_cast<float>(mass);
      }
    }
  }
  return SX_OK;
}

}  // namespace scalar
}  // namespace sx
