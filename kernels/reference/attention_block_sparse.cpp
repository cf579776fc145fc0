/*
 * Scalar twin of attention_block_sparse (XAttention, arXiv 2503.16428, section 2): attention_dense
 * over the chosen blocks of 128 keys of every row block and head; double precision.
 */
#include "values.h"

namespace sx {
namespace scalar {

sx_status attention_block_sparse(Context&, const AttentionArgs& args) {
  const int64_t q_blocks = ceil_div(args.q_tokens, SX_BLOCK);
  for (int64_t t = 0; t < args.q_tokens; t++) {
    const int64_t visible = visible_keys(args.q_offset, t, all_keys(args.kv));
    for (int64_t h = 0; h < args.q_heads; h++) {
      const int64_t list = h * q_blocks + t / SX_BLOCK;
      const int32_t* blocks = args.indices + list * args.index_stride;
      ExactRow row(args, t, h);
      for (int64_t i = 0; i < args.counts[list]; i++) {
        const int64_t begin = static_cast<int64_t>(blocks[i]) * SX_BLOCK;
        row.find_max(begin, min64(begin + SX_BLOCK, visible));
      }
      for (int64_t i = 0; i < args.counts[list]; i++) {
        const int64_t begin = static_cast<int64_t>(blocks[i]) * SX_BLOCK;
        row.add(begin, min64(begin + SX_BLOCK, visible));
      }
      row.write();
    }
  }
  return SX_OK;
}

}  // namespace scalar
}  // namespace sx
