/*
 * Results that are written past the caches: a line that is written whole need not be read first. It
 * matters most where rows lie a power of two apart: those of a block of 32 rows then fall into few sets
 * of a cache. docs/performance.md has prefills with and without it; products of 512 x 16384 x 2048 took
 * 8.2 instead of 14 to 22 ms in int8 and 18.6 instead of 22 in bf16 on two cores of a Xeon with AMX.
 * By vectors alone (Zen 5, int8) a prefill takes what it took.
 */
#ifndef SX_CPU_STREAMED_H
#define SX_CPU_STREAMED_H

#include "simd.h"

namespace sx {
namespace SX_ISA {

/* A result of so many bytes does not stay in an L2. */
constexpr int64_t kStreamedBytes = 4 << 20;

/* Whether a product's result is written past the caches, where its lines are written whole: rows begin
 * at lines. What is added to, or is part of a line at a row's end, is not. */
SX_INLINE bool is_streamed(const sx_matmul_params& args) {
  constexpr int64_t kLine = 64;
  return args.accumulate == 0 && args.m * args.n * 4 >= kStreamedBytes &&
         reinterpret_cast<uintptr_t>(args.out) % kLine == 0 && args.out_stride * 4 % kLine == 0;
}

/* Before other threads read what was streamed. */
SX_INLINE void end_stream() { _mm_sfence(); }

}  // namespace SX_ISA
}  // namespace sx

#endif
