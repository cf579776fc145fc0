/* Scalar twin of convert, one element at a time; f16 by arithmetic on its fields. */
#include <cmath>

#include "values.h"

namespace sx {
namespace scalar {

namespace {

uint16_t narrow_f16(float value) {
  const uint16_t sign = std::signbit(value) ? 0x8000 : 0;
  const double size = std::fabs(static_cast<double>(value));
  if (std::isnan(value)) return sign | 0x7e00;
  if (size >= 65520.0) return sign | 0x7c00;
  if (size == 0) return sign;
  int exponent = std::ilogb(size);
  if (exponent < -14) exponent = -14;
  /* The nearest multiple of the unit in the last place; ties to even. */
  const double units = std::nearbyint(std::ldexp(size, 10 - exponent));
  int64_t mantissa = static_cast<int64_t>(units);
  if (mantissa == 2048) {
    mantissa = 1024;
    exponent++;
  }
  if (mantissa < 1024) return sign | static_cast<uint16_t>(mantissa);
  return sign | static_cast<uint16_t>(((exponent + 15) << 10) | (mantissa - 1024));
}

float read(const void* in, sx_dtype dtype, int64_t i) {
  if (dtype == SX_F16) return widen_f16(static_cast<const uint16_t*>(in)[i]);
  return read_element(in, dtype, i);
}

}  // namespace

sx_status convert(Context&, const sx_convert_params& args) {
  for (int64_t i = 0; i < args.count; i++) {
    const float value = read(args.in, args.in_dtype, i);
    if (args.out_dtype == SX_F16) {
      static_cast<uint16_t*>(args.out)[i] = narrow_f16(value);
    } else {
      write_element(args.out, args.out_dtype, i, value);
    }
  }
  return SX_OK;
}

}  // namespace scalar
}  // namespace sx
