/*
 * Codes of 8 bits, e4m3 and int8, and the way from them to bf16, which has all of their numbers: a
 * pair at a time, in integer instructions and one of bf16 that every architecture has.
 */
#ifndef SX_CUDA_CODES_CUH
#define SX_CUDA_CODES_CUH

#include "element.cuh"

namespace sx {
namespace cuda {

/* A code of e4m3; 0x7f and 0xff, which no op here writes, count as 480 and -480. */
struct e4m3 {
  static constexpr float kLargest = 448.0f;
  uint8_t code;
};
/* A number of -127 to 127. */
struct int8 {
  static constexpr float kLargest = 127.0f;
  int8_t code;
};

/* Byte `low` of the eight of two words and byte `high`, each in the lower half of 16 bits whose upper
 * half is its sign eight times. Both are known when compiled. */
__device__ inline uint32_t spread_bytes(uint32_t first, uint32_t second, uint32_t low,
                                        uint32_t high) {
  uint32_t spread;
  asm("prmt.b32 %0, %1, %2, %3;"
      : "=r"(spread)
      : "r"(first), "r"(second), "r"(low | (8 | low) << 4 | high << 8 | (8 | high) << 12));
  return spread;
}

__device__ inline uint32_t multiply_add_bf16(uint32_t a, uint32_t b, uint32_t c) {
  uint32_t sum;
  asm("fma.rn.bf16x2 %0, %1, %2, %3;" : "=r"(sum) : "r"(a), "r"(b), "r"(c));
  return sum;
}

/* Two spread codes as bf16. The bits of a code of e4m3, moved to their places, have an exponent that is
 * 120 too small, subnormal numbers included: sign in bit 15, exponent in bits 7 to 10, mantissa in bits
 * 4 to 6. They are multiplied by 2^120; the -0 that is added changes nothing. */
__device__ inline uint32_t widen_spread(uint32_t spread, e4m3) {
  return multiply_add_bf16((spread << 4) & 0x87f087f0u, 0x7b807b80u, 0x80008000u);
}
/* 128 and the lower seven bits, less 128 or, of a negative number, 256: each has its bits in place. */
__device__ inline uint32_t widen_spread(uint32_t spread, int8) {
  const uint32_t low = (spread & 0x007f007fu) | 0x43004300u;
  const uint32_t high = (spread & 0x00800080u) | 0x43004300u;
  return multiply_add_bf16(high, 0xbf80bf80u, low);
}

/* Pair `pair` of a word's four codes. */
template <class Code>
__device__ inline uint32_t widen_pair(uint32_t codes, int pair, Code code) {
  return widen_spread(spread_bytes(codes, 0, 2 * pair, 2 * pair + 1), code);
}
/* Code `at` of one word and of another. */
template <class Code>
__device__ inline uint32_t widen_two(uint32_t first, uint32_t second, int at, Code code) {
  return widen_spread(spread_bytes(first, second, at, 4 + at), code);
}

}  // namespace cuda
}  // namespace sx

#endif
