/*
 * Scalar twin of tile_mass: the weight of every visible pair of a query and a key, added to its tile.
 */
#include <cmath>

#include "values.h"

namespace sx {
namespace scalar {

sx_status tile_mass(Context&, const sx_tile_mass_params& params) {
  const sx_antidiagonal_score_params& args = params.tiles;
  const int64_t q_tiles = ceil_div(args.q_tokens, SX_TILE);
  const int64_t key_tiles = ceil_div(all_keys(args.kv), SX_TILE);
  const int64_t dim = args.kv.head_dim;
  const Window window = window_of(args.kv, args.window);
  for (int64_t h = 0; h < args.q_heads; h++) {
    const int64_t kv_head = h / (args.q_heads / args.kv.kv_heads);
    for (int64_t b = 0; b < q_tiles; b++) {
      for (int64_t c = 0; c < key_tiles; c++) {
        double mass = 0;
        for (int64_t t = b * SX_TILE; t < (b + 1) * SX_TILE && t < args.q_tokens; t++) {
          const int64_t row = t * args.q_heads + h;
          const float* q = static_cast<const float*>(args.q) + row * dim;
          const int64_t place = args.q_offset + t;
          for (int64_t j = c * SX_TILE; j < (c + 1) * SX_TILE && j <= place; j++) {
            if (j < window.first_key(place)) continue;
            const char* k = key_address(args.kv, kv_head, j);
            double sum = 0;
            for (int64_t d = 0; d < dim; d++) {
              sum += static_cast<double>(q[d]) * read_element(k, args.kv.dtype, d);
            }
            mass += std::exp(sum * args.scale - params.lse_log2[row] * std::log(2.0));
          }
        }
        args.mass[(h * q_tiles + b) * key_tiles + c] = static_cast<float>(mass);
      }
    }
  }
  return SX_OK;
}

}  // namespace scalar
}  // namespace sx
