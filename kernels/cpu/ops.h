/*
 * The parameters of every op and the table of functions that an instruction set provides.
 *
 * The fields mean what the parameters of the same name mean in sx_kernels.h; the entry points have
 * checked them. An op returns SX_OK, or SX_OUT_OF_MEMORY if its scratch memory is not available.
 */
#ifndef SX_CPU_OPS_H
#define SX_CPU_OPS_H

#include "common.h"

namespace sx {

struct ConvertArgs {
  void* out;
  const void* in;
  sx_dtype out_dtype, in_dtype;
  int64_t count;
};

struct EmbeddingArgs {
  float* out;
  const void* table;
  const int32_t* ids;
  sx_dtype table_dtype;
  int64_t tokens, dim;
};

struct RmsNormArgs {
  void* out;
  float* residual;
  const float* delta; /* nullable */
  const void* weight;
  sx_dtype out_dtype, weight_dtype;
  int64_t rows, dim;
  float eps;
};

struct MatmulArgs {
  float* out;
  const void* x;
  const void* weight;
  sx_dtype x_dtype, weight_dtype;
  bool accumulate;
  int64_t m, n, k, x_stride, out_stride;
};

struct RopeTableArgs {
  float* table;
  const float* inverse_frequency;
  const int32_t* positions;
  int64_t tokens, head_dim;
};

struct RopeArgs {
  void* q_out;
  void* keys;   /* nullable */
  void* values; /* nullable */
  const float* qkv;
  const float* table;
  const int32_t* rows;
  sx_dtype q_dtype, cache_dtype;
  int64_t tokens, q_heads, kv_heads, head_dim, token_stride, head_stride;
};

struct SwigluArgs {
  void* out;
  const float* gate_up;
  sx_dtype out_dtype;
  int64_t rows, dim;
};

/* Keys and values in their two segments. */
struct KeyValues {
  const void* keys;
  const void* values;
  const void* prefix_keys;   /* null if prefix_tokens is 0 */
  const void* prefix_values; /* null if prefix_tokens is 0 */
  sx_dtype dtype;
  int64_t key_tokens, prefix_tokens, kv_heads, head_dim;
  int64_t token_stride, head_stride, prefix_token_stride, prefix_head_stride;
};

struct AttentionArgs {
  void* out;
  float* lse_log2; /* nullable */
  const void* q;   /* f32 */
  KeyValues kv;
  sx_dtype out_dtype;
  int64_t q_tokens, q_offset, q_heads;
  float scale;
  /* Only for block_sparse. */
  const int32_t* counts;
  const int32_t* indices;
  int64_t index_stride;
};

struct DecodeArgs {
  void* out;
  float* lse_log2; /* nullable */
  const void* q;   /* f32 */
  const void* keys;
  const void* values;
  sx_dtype out_dtype, kv_dtype;
  bool causal;
  int64_t key_count, q_tokens, q_heads, kv_heads, head_dim, token_stride, head_stride;
  float scale;
};

struct MergeArgs {
  void* out;
  const float* parts;
  sx_dtype out_dtype;
  bool by_score;
  int64_t part_count, part_stride, tokens, heads, head_dim;
};

struct AntidiagonalArgs {
  float* mass;
  const void* q; /* f32 */
  KeyValues kv;  /* values unused */
  int64_t q_tokens, q_offset, q_heads, stride;
  float scale;
};

struct SelectArgs {
  int32_t* counts;
  int32_t* indices;
  const float* mass;
  int64_t heads, q_blocks, key_blocks, first_block, index_stride;
  float threshold;
};

struct KeyMeanArgs {
  float* out;
  const void* keys;
  sx_dtype kv_dtype;
  int64_t tokens, kv_heads, head_dim, token_stride, head_stride;
};

struct HostScoreArgs {
  float* score;
  const void* q; /* f32 */
  const float* anchor_mean;
  const void* keys;
  sx_dtype kv_dtype;
  int64_t q_tokens, key_tokens, q_heads, kv_heads, head_dim, token_stride, head_stride, stride;
  float scale;
};

struct ArgmaxArgs {
  int32_t* out;
  const float* logits;
  int64_t rows, count;
};

struct TopKArgs {
  int32_t* out_ids;
  float* out_values;
  const float* logits;
  int64_t count, k;
};

/* X(function, parameters) for every op: the table, its declarations and its definition follow. */
#define SX_FOR_EACH_OP(X)                   \
  X(convert, ConvertArgs)                   \
  X(embedding, EmbeddingArgs)               \
  X(rms_norm, RmsNormArgs)                  \
  X(matmul, MatmulArgs)                     \
  X(rope_table, RopeTableArgs)              \
  X(rope, RopeArgs)                         \
  X(swiglu, SwigluArgs)                     \
  X(attention_dense, AttentionArgs)         \
  X(attention_block_sparse, AttentionArgs)  \
  X(attention_decode, DecodeArgs)           \
  X(merge_states, MergeArgs)                \
  X(antidiagonal_score, AntidiagonalArgs)   \
  X(select_blocks, SelectArgs)              \
  X(key_mean, KeyMeanArgs)                  \
  X(host_score, HostScoreArgs)              \
  X(argmax, ArgmaxArgs)                     \
  X(top_k, TopKArgs)

struct OpTable {
#define SX_FIELD(name, Args) sx_status (*name)(Context&, const Args&);
  SX_FOR_EACH_OP(SX_FIELD)
#undef SX_FIELD
};

#define SX_DECLARE(name, Args) sx_status name(Context& context, const Args& args);
#define SX_DECLARE_OPS(isa_namespace)     \
  namespace isa_namespace {               \
  SX_FOR_EACH_OP(SX_DECLARE)              \
  extern const OpTable ops;               \
  }
SX_DECLARE_OPS(scalar)
SX_DECLARE_OPS(avx2)
SX_DECLARE_OPS(avx512)
SX_DECLARE_OPS(avx512_bf16)
SX_DECLARE_OPS(amx_bf16)
#undef SX_DECLARE_OPS
#undef SX_DECLARE

}  // namespace sx

#endif
