/*
 * Numbers of e4m3 (8 bits: sign, 4 of exponent with bias 7, 3 of mantissa), in loops that a compiler
 * turns into vectors.
 */
#ifndef SX_CPU_E4M3_H
#define SX_CPU_E4M3_H

#include "common.h"

namespace sx {

/* The largest finite number. */
constexpr float kE4m3Max = 448.0f;

/* A number of at most 448, rounded to nearest even. */
SX_INLINE uint8_t narrow_e4m3(float value) {
  const uint32_t bits = float_bits(value), size = bits & 0x7fffffffu;
  /* Exponent and mantissa, cut to 3 bits; the exponent's bias is 120 more than e4m3's. */
  const uint32_t normal = ((size + 0x7ffffu + (size >> 20 & 1u)) >> 20) - (120u << 3);
  /* Below 2^-6 codes are multiples of 2^-9, the last place of 2^14. */
  const uint32_t small = float_bits(bits_float(size) + 16384.0f) - float_bits(16384.0f);
  const uint32_t code = size < (121u << 23) ? small : normal;
  return static_cast<uint8_t>((code < 0x7eu ? code : 0x7eu) | (bits >> 24 & 0x80u));
}

/* Exact: the bits as an f32 whose exponent is 120 too small. */
SX_INLINE float widen_e4m3(uint8_t code) {
  const uint32_t size = code & 0x7fu;
  const float value = bits_float(size << 20) * 0x1p120f;
  const uint32_t sign = static_cast<uint32_t>(code & 0x80u) << 24;
  return bits_float((size == 0x7fu ? 0x7fc00000u : float_bits(value)) | sign);
}

}  // namespace sx

#endif
