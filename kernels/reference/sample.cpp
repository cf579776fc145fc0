/* Scalar twins of argmax and top_k: repeated search for the best index that is left. */
#include <cmath>

#include "values.h"

namespace sx {
namespace scalar {

namespace {

/* Whether index i comes before index j: larger value, then lower index; NaN last. */
bool comes_before(const float* logits, int64_t i, int64_t j) {
  const bool nan_i = std::isnan(logits[i]), nan_j = std::isnan(logits[j]);
  if (nan_i != nan_j) return nan_j;
  if (!nan_i && logits[i] != logits[j]) return logits[i] > logits[j];
  return i < j;
}

}  // namespace

sx_status argmax(Context&, const sx_argmax_params& args) {
  for (int64_t r = 0; r < args.rows; r++) {
    const float* logits = args.logits + r * args.count;
    int64_t best = 0;
    bool all_finite = true;
    for (int64_t i = 0; i < args.count; i++) {
      if (comes_before(logits, i, best)) best = i;
      all_finite = all_finite && std::isfinite(logits[i]);
    }
    args.out[r] = all_finite ? static_cast<int32_t>(best) : -1;
  }
  return SX_OK;
}

sx_status top_k(Context&, const sx_top_k_params& args) {
  int64_t last = -1;
  for (int64_t n = 0; n < args.k; n++) {
    int64_t best = -1;
    for (int64_t i = 0; i < args.count; i++) {
      if (last >= 0 && !comes_before(args.logits, last, i)) continue;
      if (best < 0 || comes_before(args.logits, i, best)) best = i;
    }
    args.out_ids[n] = static_cast<int32_t>(best);
    args.out_values[n] = args.logits[best];
    last = best;
  }
  return SX_OK;
}

}  // namespace scalar
}  // namespace sx
