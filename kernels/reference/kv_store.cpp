/* Scalar twin of kv_store: of all codes the nearest, of two the even one. */
#include "values.h"

namespace sx {
namespace scalar {

namespace {

/* One row of keys or values. */
struct Row {
  uint8_t* codes;
  float* scale;
  const void* in;
  int64_t at;
};

void store_row(const sx_kv_store_params& args, const Row& row) {
  const bool is_int8 = args.kv_dtype == SX_I8;
  const float top = is_int8 ? 127.0f : 448.0f;
  float c = 0;
  bool is_finite = true;
  for (int64_t d = 0; d < args.head_dim; d++) {
    const float value = read_element(row.in, args.in_dtype, row.at + d);
    is_finite = is_finite && std::isfinite(value);
    c = std::fmax(c, std::fabs(value));
  }
  const bool is_kept = is_finite && c >= std::ldexp(1.0f, -100);
  *row.scale = !is_finite ? NAN : is_kept ? c / top : 0.0f;
  const float factor = top / c;
  for (int64_t d = 0; d < args.head_dim; d++) {
    const float value = read_element(row.in, args.in_dtype, row.at + d) * factor;
    uint8_t code = 0;
    if (is_kept && is_int8) code = static_cast<uint8_t>(static_cast<int8_t>(std::nearbyint(value)));
    if (is_kept && !is_int8) code = nearest_e4m3(value);
    row.codes[d] = code;
  }
}

}  // namespace

sx_status kv_store(Context&, const sx_kv_store_params& args) {
  for (int64_t t = 0; t < args.tokens; t++) {
    const int64_t row = args.rows[t];
    for (int64_t g = 0; row >= 0 && g < args.kv_heads; g++) {
      const int64_t from = g * args.in_head_stride + t * args.in_token_stride;
      const int64_t to = g * args.head_stride + row * args.token_stride;
      const int64_t scale = g * args.scale_head_stride + row;
      store_row(args, {static_cast<uint8_t*>(args.keys) + to, args.key_scales + scale, args.in_keys,
                       from});
      store_row(args, {static_cast<uint8_t*>(args.values) + to, args.value_scales + scale,
                       args.in_values, from});
    }
  }
  return SX_OK;
}

}  // namespace scalar
}  // namespace sx
