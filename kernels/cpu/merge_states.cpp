/*
 * Merges partial attentions over disjoint sets of keys (see sx_merge_states in ../sx_attention.h;
 * Star Attention, arXiv 2411.17116, section 2.2).
 *
 * out[t,h,:] = sum over p of w[p] * part[p][t,h,:]; w[p] = 2^lse[p] / sum over p of 2^lse[p], or
 * the softmax of the parts' scores. Adds in part order in f32, so the result does not depend on the
 * number of threads. Bytes read 4*parts*T*HQ*(D+1), FLOPs 2*parts*T*HQ*D; one row per step.
 */
#include <math.h>

#include "ops.h"
#include "simd.h"
#include "thread_pool.h"

namespace sx {
namespace SX_ISA {

namespace {

/* The exponent of a part in base 2, for row = token * heads + head. */
float exponent(const sx_merge_states_params& args, int64_t part, int64_t row) {
  const float* lse =
      args.parts + part * args.part_stride + args.tokens * args.heads * args.head_dim;
  if (!args.by_score) return lse[row];
  const float* score = lse + args.tokens * args.heads;
  return score[row % args.heads] * 1.44269504088896341f;
}

/* Columns that are summed in registers at a time; D is a multiple of it. */
constexpr int64_t kColumns = 64;

void merge_row(const sx_merge_states_params& args, int64_t row) {
  float top = -INFINITY;
  for (int64_t p = 0; p < args.part_count; p++) top = larger(top, exponent(args, p, row));
  float total = 0;
  for (int64_t p = 0; p < args.part_count; p++) {
    const float value = exponent(args, p, row);
    if (value != -INFINITY) total += exp2f(value - top);
  }
  for (int64_t column = 0; column < args.head_dim; column += kColumns) {
    Vec sums[kColumns / kLanes];
    for (Vec& sum : sums) sum = zero();
    for (int64_t p = 0; p < args.part_count; p++) {
      const float value = exponent(args, p, row);
      if (value == -INFINITY) continue;
      const Vec weight = broadcast(exp2f(value - top) / total);
      const float* in = args.parts + p * args.part_stride + row * args.head_dim + column;
      for (int64_t i = 0; i < kColumns / kLanes; i++) {
        sums[i] = fma(weight, load(in + i * kLanes), sums[i]);
      }
    }
    const int64_t first = row * args.head_dim + column;
    for (int64_t i = 0; i < kColumns / kLanes; i++) {
      if (args.out_dtype == SX_F32) {
        store(static_cast<float*>(args.out) + first + i * kLanes, sums[i]);
      } else {
        store_bf16(static_cast<bf16*>(args.out) + first + i * kLanes, sums[i]);
      }
    }
  }
}

}  // namespace

sx_status merge_states(Context& context, const sx_merge_states_params& args) {
  const int64_t row_bytes = args.part_count * (args.head_dim + 1) * 4;
  parallel_for(context, args.tokens * args.heads, row_grain(row_bytes),
               [&](int64_t begin, int64_t end, int32_t) {
                 for (int64_t row = begin; row < end; row++) merge_row(args, row);
               });
  return SX_OK;
}

}  // namespace SX_ISA
}  // namespace sx
