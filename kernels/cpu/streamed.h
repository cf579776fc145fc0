/*
 * Results that are written past the caches. A line that is written whole need not be read first, and
 * what a large product makes is out of the caches before it is used. On two cores of a Xeon with AMX a
 * product of 512 x 16384 x 2048 takes 8.2 instead of 14 to 22 ms in int8, whose rows, 64 KiB apart, fall
 * into few sets of a cache, and 18.6 instead of 22 in bf16; one of 512 x 2048 x 2048 1.3 instead of 1.55
 * in int8.
 */
#ifndef SX_CPU_STREAMED_H
#define SX_CPU_STREAMED_H

#include "simd.h"

namespace sx {
namespace SX_ISA {

/* A result of so many bytes does not stay in an L2. */
constexpr int64_t kStreamedBytes = 4 << 20;

/* Whether all lines of a product's result are written once, whole. */
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
