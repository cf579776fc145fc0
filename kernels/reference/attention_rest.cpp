/*
 * Scalar twin of attention_rest: a row's partial attention and the means of the tiles that it did not
 * read, in one softmax; double precision.
 */
#include <cmath>

#include "values.h"

namespace sx {
namespace scalar {

namespace {

bool is_chosen(const sx_attention_rest_params& args, int64_t list, int64_t tile) {
  const int32_t* tiles = args.indices + list * args.index_stride;
  for (int64_t i = 0; i < args.counts[list]; i++) {
    if (tiles[i] == tile) return true;
  }
  return false;
}

void attend_row(const sx_attention_rest_params& args, int64_t token, int64_t head) {
  const int64_t dim = args.head_dim, row = token * args.q_heads + head;
  const int64_t kv_head = head / (args.q_heads / args.kv_heads);
  const int64_t list = head * ceil_div(args.q_tokens, SX_TILE) + token / SX_TILE;
  const Window window = {args.window, args.prefix_tokens, args.prefix_gap};
  const int64_t first_key = window.first_key(args.q_offset + token);
  const float* q = static_cast<const float*>(args.q) + row * dim;
  const float* partial = args.partial + row * dim;
  /* The weights are relative to the partial sum of exponentials, or to the first tile's. */
  double reference = args.partial_lse_log2[row] * std::log(2.0), sum = 1;
  double out[128];
  for (int64_t d = 0; d < dim; d++) out[d] = partial[d];
  if (reference == -INFINITY) sum = 0;
  bool is_alone = true;
  for (int64_t c = 0; c < args.q_offset / SX_TILE + token / SX_TILE; c++) {
    if (c * SX_TILE < first_key || is_chosen(args, list, c)) continue;
    is_alone = false;
    const int64_t at = kv_head * args.mean_head_stride + c * dim;
    double logit = 0;
    for (int64_t d = 0; d < dim; d++) {
      logit += static_cast<double>(q[d]) * read_element(args.mean_keys, args.mean_dtype, at + d);
    }
    logit = logit * args.scale + std::log(static_cast<double>(SX_TILE));
    if (sum == 0 || logit > reference) {
      const double factor = sum == 0 ? 0 : std::exp(reference - logit);
      sum *= factor;
      for (int64_t d = 0; d < dim; d++) out[d] *= factor;
      reference = logit;
    }
    const double weight = std::exp(logit - reference);
    sum += weight;
    for (int64_t d = 0; d < dim; d++) {
      out[d] += weight * read_element(args.mean_values, args.mean_dtype, at + d);
    }
  }
  for (int64_t d = 0; d < dim; d++) {
    const double value = is_alone ? partial[d] : out[d] / sum;
    write_element(args.out, args.out_dtype, row * dim + d, static_cast<float>(value));
  }
  if (args.lse_log2 == nullptr) return;
  const double lse = (reference + std::log(sum)) / std::log(2.0);
  args.lse_log2[row] = is_alone ? args.partial_lse_log2[row] : static_cast<float>(lse);
}

}  // namespace

sx_status attention_rest(Context&, const sx_attention_rest_params& args) {
  for (int64_t t = 0; t < args.q_tokens; t++) {
    for (int64_t h = 0; h < args.q_heads; h++) attend_row(args, t, h);
  }
  return SX_OK;
}

}  // namespace scalar
}  // namespace sx
