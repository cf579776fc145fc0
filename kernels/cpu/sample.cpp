/*
 * Choosing tokens (see sx_argmax and sx_top_k in ../sx_kernels.h): the largest logit, and the k
 * largest. Both read each logit once: bytes 4 * rows * count.
 */
#include <math.h>

#include "ops.h"
#include "simd.h"
#include "thread_pool.h"

namespace sx {
namespace SX_ISA {

namespace {

/* A value's place in the order: NaN comes last, below -inf. */
SX_INLINE bool beats(float a, float b) { return a > b || (b != b && a == a); }

int32_t argmax_row(const float* logits, int64_t count) {
  /* x - x is 0, and NaN where x is not finite: the sum of all such is then NaN. */
  Vec lanes = broadcast(-INFINITY), differences = zero();
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    const Vec values = load(logits + i);
    lanes = max(values, lanes);
    differences = add(differences, sub(values, values));
  }
  float largest = reduce_max(lanes), difference = reduce_add(differences);
  for (; i < count; i++) {
    if (logits[i] > largest) largest = logits[i];
    difference += logits[i] - logits[i];
  }
  if (difference != 0) return -1;
  for (int64_t first = 0; first < count; first++) {
    if (logits[first] == largest) return static_cast<int32_t>(first);
  }
  return -1; /* not reached: the largest is one of them */
}

}  // namespace

sx_status argmax(Context& context, const sx_argmax_params& args) {
  parallel_for(context, args.rows, row_grain(args.count * 4),
               [&](int64_t begin, int64_t end, int32_t) {
                 for (int64_t r = begin; r < end; r++) {
                   args.out[r] = argmax_row(args.logits + r * args.count, args.count);
                 }
               });
  return SX_OK;
}

/* Keeps the k best so far in order; k is small against count. */
sx_status top_k(Context&, const sx_top_k_params& args) {
  int64_t kept = 0;
  for (int64_t i = 0; i < args.count; i++) {
    const float value = args.logits[i];
    if (kept == args.k && !beats(value, args.out_values[kept - 1])) continue;
    int64_t at = kept < args.k ? kept++ : kept - 1;
    for (; at > 0 && beats(value, args.out_values[at - 1]); at--) {
      args.out_values[at] = args.out_values[at - 1];
      args.out_ids[at] = args.out_ids[at - 1];
    }
    args.out_values[at] = value;
    args.out_ids[at] = static_cast<int32_t>(i);
  }
  return SX_OK;
}

}  // namespace SX_ISA
}  // namespace sx
