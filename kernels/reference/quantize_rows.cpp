/* Scalar twin of quantize_rows: of all codes the nearest, of two the even one. */
#include "values.h"

namespace sx {
namespace scalar {

namespace {

float read(const void* in, sx_dtype dtype, int64_t i) {
  if (dtype != SX_F16) return read_element(in, dtype, i);
  const uint16_t bits = static_cast<const uint16_t*>(in)[i];
  const int exponent = bits >> 10 & 31, mantissa = bits & 1023;
  double value =
      exponent == 0 ? std::ldexp(mantissa, -24) : std::ldexp(mantissa + 1024, exponent - 25);
  if (exponent == 31) value = mantissa == 0 ? INFINITY : NAN;
  return static_cast<float>((bits & 0x8000) != 0 ? -value : value);
}

void quantize_row(const sx_quantize_rows_params& args, int64_t r) {
  uint8_t* out = static_cast<uint8_t*>(args.out) + r * args.dim;
  float c = 0;
  bool is_finite = true;
  for (int64_t l = 0; l < args.dim; l++) {
    const float value = read(args.in, args.in_dtype, r * args.in_stride + l);
    is_finite = is_finite && std::isfinite(value);
    c = std::fmax(c, std::fabs(value));
  }
  const bool is_kept = is_finite && c >= std::ldexp(1.0f, -100);
  args.scales[r] = !is_finite ? NAN : is_kept ? c / 448.0f : 0.0f;
  const float factor = 448.0f / c;
  for (int64_t l = 0; l < args.dim; l++) {
    const float value = read(args.in, args.in_dtype, r * args.in_stride + l);
    out[l] = is_kept ? nearest_e4m3(value * factor) : 0;
  }
}

}  // namespace

sx_status quantize_rows(Context&, const sx_quantize_rows_params& args) {
  for (int64_t r = 0; r < args.rows; r++) quantize_row(args, r);
  return SX_OK;
}

}  // namespace scalar
}  // namespace sx
