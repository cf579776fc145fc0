/*
 * The scale of a row of numbers that is rounded to 8 bits by itself: c / top, c being the largest size in
 * the row and top the largest number of the codes.
 *
 * Sizes are compared as whole numbers, which order as the floats do and put infinities and NaN above all
 * others.
 */
#ifndef SX_CPU_ROW_SCALE_H
#define SX_CPU_ROW_SCALE_H

#include "common.h"

namespace sx {

/* The largest size among some numbers, as bits, or `most` if that is larger. */
SX_INLINE uint32_t largest_size(const float* values, int64_t count, uint32_t most) {
  for (int64_t i = 0; i < count; i++) {
    const uint32_t size = float_bits(values[i]) & 0x7fffffffu;
    most = size > most ? size : most;
  }
  return most;
}

/* Writes the scale of a row whose largest size is `most`, and what its numbers are multiplied by. Where
 * it returns false all codes are zeros: the scale is NaN for a row with a number that is not finite, and 0
 * for one of numbers so small that top / c would not be finite. */
SX_INLINE bool scale_row(uint32_t most, float top, float* scale, float& factor) {
  constexpr float kSmallest = 0x1p-100f;
  constexpr uint32_t kInfinity = 0x7f800000u;
  const float c = bits_float(most);
  if (most >= kInfinity || c < kSmallest) {
    *scale = most >= kInfinity ? bits_float(0x7fc00000u) : 0.0f;
    return false;
  }
  *scale = c / top;
  factor = top / c;
  return true;
}

}  // namespace sx

#endif
