/*
 * What the scalar twins know of 8-bit numbers: how a row is rounded, and where a panel has an element.
 */
#ifndef SX_REFERENCE_INT8_VALUES_H
#define SX_REFERENCE_INT8_VALUES_H

#include <cmath>
#include <limits>
#include <vector>

#include "../cpu/int8.h"

namespace sx {
namespace scalar {

/* Where panels of a depth have the number of row j and depth l. */
inline int64_t panel_index(int64_t j, int64_t l, int64_t depth) {
  const int64_t panel = j / kPanelRows * kPanelRows * depth;
  return panel + l / kQuad * kQuadBytes + j % kPanelRows * kQuad + l % kQuad;
}

/* A row in 8 bits. */
struct RoundedRow {
  float scale = 0;
  std::vector<int8_t> first;
  std::vector<int8_t> second; /* empty if there is no second digit */
};

inline RoundedRow round_row(const std::vector<float>& row) {
  RoundedRow out;
  out.first = std::vector<int8_t>(row.size());
  float largest = 0;
  for (const float value : row) {
    if (!std::isfinite(value)) {
      out.scale = std::numeric_limits<float>::quiet_NaN();
      return out;
    }
    largest = std::fmax(largest, std::fabs(value));
  }
  if (largest < std::ldexp(1.0f, -100)) return out;
  out.scale = largest / 127.0f;
  const float inverse = 127.0f / largest;
  int64_t squares = 0;
  for (size_t l = 0; l < row.size(); l++) {
    out.first[l] = static_cast<int8_t>(std::nearbyint(row[l] * inverse));
    squares += out.first[l] * out.first[l];
  }
  if (squares >= SX_SECOND_DIGIT * static_cast<int64_t>(row.size())) return out;
  out.second = std::vector<int8_t>(row.size());
  for (size_t l = 0; l < row.size(); l++) {
    const float left = std::fma(row[l], inverse, -static_cast<float>(out.first[l]));
    out.second[l] = static_cast<int8_t>(std::nearbyint(left * 128.0f));
  }
  return out;
}

}  // namespace scalar
}  // namespace sx

#endif
