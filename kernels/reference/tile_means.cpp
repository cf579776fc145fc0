/*
 * Scalar twin of tile_means: the mean of the keys and of the values of a tile, in double precision.
 */
#include "values.h"

namespace sx {
namespace scalar {

sx_status tile_means(Context&, const sx_tile_means_params& args) {
  const sx_key_values& kv = args.kv;
  for (int64_t g = 0; g < kv.kv_heads; g++) {
    for (int64_t c = args.first_tile; c < args.first_tile + args.tile_count; c++) {
      const int64_t begin = c * SX_TILE, end = min64(begin + SX_TILE, all_keys(kv));
      for (int64_t d = 0; d < kv.head_dim; d++) {
        double keys = 0, values = 0;
        for (int64_t j = begin; j < end; j++) {
          keys += read_element(key_address(kv, g, j), kv.dtype, d);
          values += read_element(value_address(kv, g, j), kv.dtype, d);
        }
        const double count = static_cast<double>(end - begin);
        const int64_t at = g * args.mean_head_stride + c * kv.head_dim + d;
        write_element(args.mean_keys, args.mean_dtype, at, static_cast<float>(keys / count));
        write_element(args.mean_values, args.mean_dtype, at, static_cast<float>(values / count));
      }
    }
  }
  return SX_OK;
}

}  // namespace scalar
}  // namespace sx
