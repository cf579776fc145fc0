/*
 * Attention over a long cache with few queries is split over the keys: each split leaves a part per
 * query row, and merge_parts adds them up in the order of the splits, so that the result does not
 * depend on the number of threads.
 *
 * A part is [D] unnormalized sums, then the maximum logit in base 2 and the sum of the weights
 * 2^(logit - maximum). parts [splits, T * HQ, D + 2]; kept in f32.
 */
#ifndef SX_CPU_ATTENTION_PARTS_H
#define SX_CPU_ATTENTION_PARTS_H

#include <math.h>

#include "attention.h"
#include "simd.h"
#include "thread_pool.h"

namespace sx {
namespace SX_ISA {

/* Writes one row of D outputs, sums * factor, as F32 or BF16. */
SX_INLINE void write_row(void* out, sx_dtype dtype, int64_t row, int64_t dim, const float* sums,
                         float factor) {
  for (int64_t d = 0; d < dim; d += kLanes) {
    const Vec value = mul(load(sums + d), broadcast(factor));
    if (dtype == SX_F32) {
      store(static_cast<float*>(out) + row * dim + d, value);
    } else {
      store_bf16(static_cast<bf16*>(out) + row * dim + d, value);
    }
  }
}

/* Adds the parts of one query row up and writes its output and log-sum-exp. A split without a
 * visible key has the maximum -inf and weighs nothing. */
template <int D>
static inline void merge_row(const AttentionArgs& args, const float* parts, int64_t splits,
                             int64_t row) {
  const int64_t step = args.q_tokens * args.q_heads * (D + 2);
  const float* first = parts + row * (D + 2);
  float top = -INFINITY;
  for (int64_t s = 0; s < splits; s++) {
    if (first[s * step + D + 1] != 0) top = larger(top, first[s * step + D]);
  }
  Vec sums[D / kLanes];
  for (Vec& sum : sums) sum = zero();
  float total = 0;
  for (int64_t s = 0; s < splits; s++) {
    const float* part = first + s * step;
    if (part[D + 1] == 0) continue;
    const float weight = exp2f(part[D] - top);
    total += weight * part[D + 1];
    for (int i = 0; i < D / kLanes; i++) {
      sums[i] = fma(broadcast(weight), load(part + i * kLanes), sums[i]);
    }
  }
  float row_sums[D];
  for (int i = 0; i < D / kLanes; i++) store(row_sums + i * kLanes, sums[i]);
  write_row(args.out, args.out_dtype, row, D, row_sums, total == 0 ? 0 : 1 / total);
  if (args.lse_log2 != nullptr) args.lse_log2[row] = top + log2f(total);
}

template <int D>
static inline void merge_parts(Context& context, const AttentionArgs& args, const float* parts,
                               int64_t splits) {
  const int64_t rows = args.q_tokens * args.q_heads;
  parallel_for(context, rows, row_grain(splits * (D + 2) * 4),
               [&](int64_t begin, int64_t end, int32_t) {
                 for (int64_t row = begin; row < end; row++) {
                   merge_row<D>(args, parts, splits, row);
                 }
               });
}

}  // namespace SX_ISA
}  // namespace sx

#endif
