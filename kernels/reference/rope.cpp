/* Scalar twins of rope_table and rope. */
#include <cmath>

#include "values.h"

namespace sx {
namespace scalar {

namespace {

void rotate(void* out, sx_dtype dtype, int64_t first, const float* x, const float* table,
            int64_t half) {
  for (int64_t d = 0; d < half; d++) {
    const double cosine = table[d], sine = table[half + d];
    const double x1 = x[d], x2 = x[half + d];
    write_element(out, dtype, first + d, static_cast<float>(x1 * cosine - x2 * sine));
    write_element(out, dtype, first + half + d, static_cast<float>(x2 * cosine + x1 * sine));
  }
}

}  // namespace

sx_status rope_table(Context&, const sx_rope_table_params& args) {
  const int64_t half = args.head_dim / 2;
  for (int64_t t = 0; t < args.tokens; t++) {
    for (int64_t d = 0; d < half; d++) {
      const float angle = static_cast<float>(args.positions[t]) * args.inverse_frequency[d];
      args.table[t * args.head_dim + d] = static_cast<float>(std::cos(static_cast<double>(angle)));
      args.table[t * args.head_dim + half + d] =
          static_cast<float>(std::sin(static_cast<double>(angle)));
    }
  }
  return SX_OK;
}

sx_status rope(Context&, const sx_rope_params& args) {
  const int64_t dim = args.head_dim, half = dim / 2;
  for (int64_t t = 0; t < args.tokens; t++) {
    const float* table = args.table + t * dim;
    const float* x = args.qkv + t * (args.q_heads + 2 * args.kv_heads) * dim;
    for (int64_t h = 0; h < args.q_heads; h++) {
      rotate(args.q_out, args.q_dtype, (t * args.q_heads + h) * dim, x + h * dim, table, half);
    }
    if (args.rows[t] < 0) continue;
    for (int64_t h = 0; h < args.kv_heads; h++) {
      const int64_t at = h * args.head_stride + args.rows[t] * args.token_stride;
      const float* key = x + (args.q_heads + h) * dim;
      const float* value = key + args.kv_heads * dim;
      rotate(args.keys, args.cache_dtype, at, key, table, half);
      for (int64_t d = 0; d < dim; d++) {
        write_element(args.values, args.cache_dtype, at + d, value[d]);
      }
    }
  }
  return SX_OK;
}

}  // namespace scalar
}  // namespace sx
