/*
 * Scalar twin of attention_block_sparse (XAttention, arXiv 2503.16428, section 2): attention_dense
 * over the chosen tiles of 128 keys of every row of tiles and head; double precision.
 */
#include "values.h"

namespace sx {
namespace scalar {

sx_status attention_block_sparse(Context&, const sx_attention_block_sparse_params& params) {
  const AttentionArgs args = attention_args(params);
  const int64_t q_tiles = ceil_div(args.q_tokens, SX_TILE);
  for (int64_t t = 0; t < args.q_tokens; t++) {
    const int64_t visible = visible_keys(args.q_offset, t, all_keys(args.kv));
    const int64_t first = first_visible(args, t);
    for (int64_t h = 0; h < args.q_heads; h++) {
      const int64_t list = h * q_tiles + t / SX_TILE;
      const int32_t* tiles = args.indices + list * args.index_stride;
      ExactRow row(args, t, h);
      for (int64_t i = 0; i < args.counts[list]; i++) {
        const int64_t begin = static_cast<int64_t>(tiles[i]) * SX_TILE;
        row.find_max(max64(begin, first), min64(begin + SX_TILE, visible));
      }
      for (int64_t i = 0; i < args.counts[list]; i++) {
        const int64_t begin = static_cast<int64_t>(tiles[i]) * SX_TILE;
        row.add(max64(begin, first), min64(begin + SX_TILE, visible));
      }
      row.write();
    }
  }
  return SX_OK;
}

}  // namespace scalar
}  // namespace sx
