/*
 * Scalar twin of merge_states (Star Attention, arXiv 2411.17116, section 2.2): out = sum over the
 * parts of weight * part, the weights being 2^lse normalized or a softmax of the parts' scores.
 */
#include <cmath>

#include "values.h"

namespace sx {
namespace scalar {

namespace {

/* Part p's exponent, in natural units, for one token and head. */
double part_exponent(const sx_merge_states_params& args, int64_t part, int64_t token,
                     int64_t head) {
  const float* base = args.parts + part * args.part_stride;
  const float* lse = base + args.tokens * args.heads * args.head_dim;
  const float* score = lse + args.tokens * args.heads;
  if (args.by_score) return score[head];
  return static_cast<double>(lse[token * args.heads + head]) * std::log(2.0);
}

void merge_row(const sx_merge_states_params& args, int64_t token, int64_t head) {
  double max = -INFINITY;
  for (int64_t p = 0; p < args.part_count; p++) {
    max = std::fmax(max, part_exponent(args, p, token, head));
  }
  double sum = 0;
  for (int64_t p = 0; p < args.part_count; p++) {
    const double exponent = part_exponent(args, p, token, head);
    sum += exponent == -INFINITY ? 0 : std::exp(exponent - max);
  }
  const int64_t row = (token * args.heads + head) * args.head_dim;
  for (int64_t d = 0; d < args.head_dim; d++) {
    double value = 0;
    for (int64_t p = 0; p < args.part_count; p++) {
      const double exponent = part_exponent(args, p, token, head);
      if (exponent == -INFINITY) continue;
      value += std::exp(exponent - max) / sum * args.parts[p * args.part_stride + row + d];
    }
    write_element(args.out, args.out_dtype, row + d, static_cast<float>(value));
  }
}

}  // namespace

sx_status merge_states(Context&, const sx_merge_states_params& args) {
  for (int64_t t = 0; t < args.tokens; t++) {
    for (int64_t h = 0; h < args.heads; h++) merge_row(args, t, h);
  }
  return SX_OK;
}

}  // namespace scalar
}  // namespace sx
