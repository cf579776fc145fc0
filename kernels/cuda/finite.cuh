/*
 * The search for values of shared memory that are not finite: what all attention does with them stands
 * in attention_finite.cuh.
 */
#ifndef SX_CUDA_FINITE_CUH
#define SX_CUDA_FINITE_CUH

#include "mma.cuh"

namespace sx {
namespace cuda {

/* The upper bits of the halves of a word that are NaN or infinity. */
__device__ inline uint32_t unfinite_halves(uint32_t word) {
  return ((word & 0x7f807f80u) + 0x00800080u) & 0x80008000u;
}

/* Zeroes those of 16 bytes of shared memory; returns whether there are any. */
__device__ inline bool zero_unfinite(uint32_t address) {
  uint32_t words[4], found = 0;
  load_words(words, address);
#pragma unroll
  for (int i = 0; i < 4; i++) {
    const uint32_t halves = unfinite_halves(words[i]);
    found |= halves;
    words[i] &= ~((halves >> 15) * 0xffffu);
  }
  if (found != 0) store_words(address, words);
  return found != 0;
}

}  // namespace cuda
}  // namespace sx

#endif
