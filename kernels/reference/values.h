/*
 * What the scalar twins of attention and selection share: reading and writing one element of a
 * given dtype, and the exact attention of one query over a list of keys in double precision.
 */
#ifndef SX_REFERENCE_VALUES_H
#define SX_REFERENCE_VALUES_H

#include <cmath>

#include "../cpu/attention.h"

namespace sx {
namespace scalar {

/* By arithmetic on its fields. */
inline float widen_f16(uint16_t bits) {
  const int exponent = (bits >> 10) & 31;
  const int mantissa = bits & 1023;
  float value;
  if (exponent == 31) {
    value = mantissa == 0 ? INFINITY : NAN;
  } else if (exponent == 0) {
    value = std::ldexp(static_cast<float>(mantissa), -24);
  } else {
    value = std::ldexp(static_cast<float>(mantissa + 1024), exponent - 25);
  }
  return (bits & 0x8000) != 0 ? -value : value;
}

/* An element of any dtype of floats. */
inline float read_float(const void* row, sx_dtype dtype, int64_t index) {
  if (dtype == SX_F32) return static_cast<const float*>(row)[index];
  if (dtype == SX_F16) return widen_f16(static_cast<const f16*>(row)[index].bits);
  return widen(static_cast<const bf16*>(row)[index]);
}

/* A code of e4m3 by arithmetic on its fields. */
inline float widen_e4m3(uint8_t code) {
  const int exponent = code >> 3 & 15, mantissa = code & 7;
  float value = exponent == 0 ? std::ldexp(static_cast<float>(mantissa), -9)
                              : std::ldexp(static_cast<float>(mantissa + 8), exponent - 10);
  if ((code & 0x7f) == 0x7f) value = NAN;
  return (code & 0x80) != 0 ? -value : value;
}

inline float read_element(const void* row, sx_dtype dtype, int64_t index) {
  if (dtype == SX_I8) return static_cast<const int8_t*>(row)[index];
  if (dtype == SX_F8E4M3) return widen_e4m3(static_cast<const uint8_t*>(row)[index]);
  return dtype == SX_F32 ? static_cast<const float*>(row)[index]
                         : widen(static_cast<const bf16*>(row)[index]);
}

inline void write_element(void* out, sx_dtype dtype, int64_t index, float value) {
  if (dtype == SX_F32) {
    static_cast<float*>(out)[index] = value;
  } else {
    static_cast<bf16*>(out)[index] = narrow_bf16(value);
  }
}

/* The code of e4m3 that is nearest to a number of at most 448, of two the even one. */
inline uint8_t nearest_e4m3(float value) {
  const double size = std::fabs(value);
  int best = 0;
  double least = size;
  for (int code = 1; code < 0x7f; code++) {
    const double away = std::fabs(size - widen_e4m3(static_cast<uint8_t>(code)));
    if (away > least || (away == least && code % 2 != 0)) continue;
    best = code;
    least = away;
  }
  return static_cast<uint8_t>(best | (std::signbit(value) ? 0x80 : 0));
}

/* The scales of a sequence's keys and values of 8 bits, all heads'; none of floats. */
struct Scales {
  const float* keys;
  const float* values;
  int64_t head_stride;

  double of(const float* scales, int64_t head, int64_t key) const {
    return scales == nullptr ? 1 : scales[head * head_stride + key];
  }
  double key(int64_t head, int64_t j) const { return of(keys, head, j); }
  double value(int64_t head, int64_t j) const { return of(values, head, j); }
};

inline Scales scales_of(const sx_attention_decode_params& args, int64_t sequence) {
  if (args.key_scales == nullptr) return {nullptr, nullptr, 0};
  const int64_t first = args.first_row == nullptr ? 0 : args.first_row[sequence];
  return {args.key_scales + first, args.value_scales + first, args.scale_head_stride};
}

/* One query of one head over the keys of some ranges, in two passes and in double precision. */
class ExactRow {
 public:
  ExactRow(const AttentionArgs& args, int64_t token, int64_t head,
           const Scales& scales = {nullptr, nullptr, 0})
      : args_(args),
        scales_(scales),
        kv_head_(head / (args.q_heads / args.kv.kv_heads)),
        row_(token * args.q_heads + head),
        q_(static_cast<const float*>(args.q) + row_ * args.kv.head_dim) {}

  double logit(int64_t key) const {
    const char* k = key_address(args_.kv, kv_head_, key);
    double sum = 0;
    for (int64_t d = 0; d < args_.kv.head_dim; d++) {
      sum += static_cast<double>(q_[d]) * read_element(k, args_.kv.dtype, d);
    }
    return sum * args_.scale * scales_.key(kv_head_, key);
  }

  void find_max(int64_t begin, int64_t end) {
    for (int64_t key = begin; key < end; key++) {
      const double value = logit(key);
      if (!seen_ || value > max_) max_ = value;
      seen_ = true;
    }
  }

  void add(int64_t begin, int64_t end) {
    for (int64_t key = begin; key < end; key++) {
      const double weight = std::exp(logit(key) - max_);
      const char* v = value_address(args_.kv, kv_head_, key);
      sum_ += weight;
      for (int64_t d = 0; d < args_.kv.head_dim; d++) {
        out_[d] += weight * scales_.value(kv_head_, key) * read_element(v, args_.kv.dtype, d);
      }
    }
  }

  void write() const {
    for (int64_t d = 0; d < args_.kv.head_dim; d++) {
      const double value = seen_ ? out_[d] / sum_ : 0;
      write_element(args_.out, args_.out_dtype, row_ * args_.kv.head_dim + d,
                    static_cast<float>(value));
    }
    if (args_.lse_log2 != nullptr) {
      const double lse = seen_ ? (max_ + std::log(sum_)) / std::log(2.0) : -INFINITY;
      args_.lse_log2[row_] = static_cast<float>(lse);
    }
  }

 private:
  const AttentionArgs& args_;
  const Scales scales_;
  int64_t kv_head_, row_;
  const float* q_;
  bool seen_ = false;
  double max_ = 0, sum_ = 0;
  double out_[128] = {}; /* the largest head size */
};

}  // namespace scalar
}  // namespace sx

#endif
