/*
 * What every file of the CPU library shares: the context, small types, errors and scratch memory.
 *
 * Op files are compiled once per instruction set. Functions in headers are therefore `static`, so
 * that the linker never puts AVX-512 code of one object in the place of another object's AVX2 code.
 */
#ifndef SX_CPU_COMMON_H
#define SX_CPU_COMMON_H

#include <stddef.h>
#include <stdint.h>

#include "../abi/ops.h"

#define SX_INLINE static inline __attribute__((always_inline))
/* The same for a static method. */
#define SX_INLINE_METHOD inline __attribute__((always_inline))

namespace sx {

/* Storage formats; arithmetic happens in f32. */
struct bf16 {
  uint16_t bits;
};
struct f16 {
  uint16_t bits;
};

class ThreadPool;
struct OpTable;
/* A product with a weight of 8 bits: see int8.h. */
typedef sx_status (*Int8Product)(::sx_context& context, const sx_matmul_params& args);

}  // namespace sx

/* The opaque type of the C interface. One op runs on a context at a time. */
struct sx_context : sx::ContextBase {
  sx::ThreadPool* pool;
  const sx::OpTable* ops;       /* the context's own: its ops may be of two sets */
  sx::Int8Product int8_product; /* what the processor has for it within the set */
  int32_t threads;
  int32_t isa;
  void* scratch; /* grown by sx::scratch, kept between calls */
  int64_t scratch_bytes;
};

namespace sx {

using Context = ::sx_context;

/* 64-byte aligned memory of the context that lasts until the next call of scratch(); null if there
 * is none left. Its content is undefined. Only the calling thread of an op may ask, once per op. */
void* scratch(Context& context, int64_t bytes);

/* Sets the error text to "Cannot run <op> as <bytes> bytes of working memory are not available". */
sx_status out_of_scratch(Context& context, const char* op, int64_t bytes);

SX_INLINE int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
SX_INLINE int64_t round_up(int64_t a, int64_t b) { return ceil_div(a, b) * b; }
SX_INLINE int64_t min64(int64_t a, int64_t b) { return a < b ? a : b; }
SX_INLINE int64_t max64(int64_t a, int64_t b) { return a > b ? a : b; }

SX_INLINE int64_t dtype_bytes(sx_dtype dtype) {
  return dtype == SX_I8 ? 1 : dtype == SX_F32 || dtype == SX_I32 ? 4 : 2;
}

SX_INLINE uint32_t float_bits(float value) {
  uint32_t bits;
  __builtin_memcpy(&bits, &value, sizeof bits);
  return bits;
}
SX_INLINE float bits_float(uint32_t bits) {
  float value;
  __builtin_memcpy(&value, &bits, sizeof value);
  return value;
}

/* bf16 is the upper half of an f32: widening is exact. */
SX_INLINE float widen(bf16 value) { return bits_float(static_cast<uint32_t>(value.bits) << 16); }
SX_INLINE float widen(float value) { return value; }

/* Rounds to nearest even; a NaN stays a (quiet) NaN. */
SX_INLINE bf16 narrow_bf16(float value) {
  const uint32_t bits = float_bits(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) {
    return bf16{static_cast<uint16_t>((bits >> 16) | 0x40u)};
  }
  return bf16{static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16)};
}
SX_INLINE void put(float* out, float value) { *out = value; }
SX_INLINE void put(bf16* out, float value) { *out = narrow_bf16(value); }

}  // namespace sx

#endif
