/*
 * The list of the ops that a backend has for every build of it, and the context's part that the
 * entry points know.
 */
#ifndef SX_ABI_OPS_H
#define SX_ABI_OPS_H

#include "../sx_kernels.h"

/* X(op): an op sx_<op> takes its context and an sx_<op>_params, whose arguments the entry points have
 * checked as far as they can. It returns SX_OK, or what failed: its working memory, or a launch.
 * sx_copy is not among them: it is the same for every instruction set. */
#define SX_FOR_EACH_OP(X)   \
  X(convert)                \
  X(word_sum)               \
  X(embedding)              \
  X(rms_norm)               \
  X(quantize)               \
  X(quantize_rows)          \
  X(matmul)                 \
  X(matmul_rows)            \
  X(rope_table)             \
  X(rope)                   \
  X(head_norm)              \
  X(add)                    \
  X(swiglu)                 \
  X(kv_store)               \
  X(kv_expand)              \
  X(attention_dense)        \
  X(attention_block_sparse) \
  X(attention_decode)       \
  X(decode_select)          \
  X(attention_decode_tiles) \
  X(merge_states)           \
  X(antidiagonal_score)     \
  X(select_tiles)           \
  X(tile_mass)              \
  X(tile_means)             \
  X(key_codes)              \
  X(attention_rest)         \
  X(key_mean)               \
  X(rank_score)             \
  X(argmax)                 \
  X(top_k)

namespace sx {

struct Allocation;

/* What every backend's context begins with. */
struct ContextBase {
  Allocation* allocations; /* of sx_alloc, newest first */
  int64_t live_allocations;
  char error[512];
};

/* Dense and block-sparse attention as their common code sees them: dense is without a list. */
struct AttentionArgs : sx_attention_dense_params {
  const int32_t* counts;
  const int32_t* indices;
  int64_t index_stride;
  bool windowed; /* whether there is a window, though it may hide nothing from this call */
};

static inline AttentionArgs attention_args(const sx_attention_dense_params& params,
                                           const int32_t* counts = nullptr,
                                           const int32_t* indices = nullptr,
                                           int64_t index_stride = 0) {
  AttentionArgs args = {params, counts, indices, index_stride, params.window > 0};
  const int64_t places = params.q_offset + params.q_tokens + params.kv.prefix_gap;
  if (args.window >= places) args.window = 0;
  return args;
}

static inline AttentionArgs attention_args(const sx_attention_block_sparse_params& params) {
  return attention_args(params.attention, params.counts, params.indices, params.index_stride);
}

}  // namespace sx

#endif
