/* Scalar twins of rope_table and rope. */
#include <cmath>

#include "values.h"

namespace sx {
namespace scalar {

namespace {

/* Element `first` on of out: a head from element `from` of qkv on, whose first `rotated` elements are
 * turned. */
void write_head(const sx_rope_params& args, void* out, sx_dtype dtype, int64_t first, int64_t from,
                const float* table, int64_t rotated) {
  const auto x = [&](int64_t d) { return read_element(args.qkv, args.qkv_dtype, from + d); };
  const int64_t half = rotated / 2;
  for (int64_t d = 0; d < half; d++) {
    const double cosine = table[d], sine = table[half + d];
    const double x1 = x(d), x2 = x(half + d);
    write_element(out, dtype, first + d, static_cast<float>(x1 * cosine - x2 * sine));
    write_element(out, dtype, first + half + d, static_cast<float>(x2 * cosine + x1 * sine));
  }
  for (int64_t d = rotated; d < args.out_dim; d++) {
    write_element(out, dtype, first + d, d < args.head_dim ? x(d) : 0);
  }
}

}  // namespace

sx_status rope_table(Context&, const sx_rope_table_params& args) {
  const int64_t half = args.rotary_dim / 2;
  for (int64_t t = 0; t < args.tokens; t++) {
    const float* frequency = args.inverse_frequency + t * args.frequency_stride;
    float* row = args.table + t * args.rotary_dim;
    for (int64_t d = 0; d < half; d++) {
      const float angle = static_cast<float>(args.positions[t]) * frequency[d];
      row[d] = static_cast<float>(std::cos(static_cast<double>(angle)) * args.scale);
      row[half + d] = static_cast<float>(std::sin(static_cast<double>(angle)) * args.scale);
    }
  }
  return SX_OK;
}

sx_status rope(Context&, const sx_rope_params& args) {
  const int64_t dim = args.head_dim, rotated = args.rotary_dim;
  for (int64_t t = 0; t < args.tokens; t++) {
    const float* table = rotated == 0 ? nullptr : args.table + t * rotated;
    const int64_t x = t * (args.q_heads + 2 * args.kv_heads) * dim;
    for (int64_t h = 0; h < args.q_heads; h++) {
      const int64_t at = (t * args.q_heads + h) * args.out_dim;
      write_head(args, args.q_out, args.q_dtype, at, x + h * dim, table, rotated);
    }
    if (args.rows[t] < 0) continue;
    for (int64_t h = 0; h < args.kv_heads; h++) {
      const int64_t at = h * args.head_stride + args.rows[t] * args.token_stride;
      const int64_t key = x + (args.q_heads + h) * dim;
      const int64_t value = key + args.kv_heads * dim;
      write_head(args, args.keys, args.cache_dtype, at, key, table, rotated);
      write_head(args, args.values, args.cache_dtype, at, value, table, 0);
    }
  }
  return SX_OK;
}

}  // namespace scalar
}  // namespace sx
