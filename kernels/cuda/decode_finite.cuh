/*
 * Values that are not finite in decode attention, which queries of a sequence that do not see their keys
 * must not get: as in attention_finite.cuh they become 0 in the steps that some query does not see whole,
 * and are added in the end to the sums of the rows that see them. One query sees all keys that are read
 * for it. Codes of 8 bits are finite, and the scales of hidden ones are not multiplied.
 */
#ifndef SX_CUDA_DECODE_FINITE_CUH
#define SX_CUDA_DECODE_FINITE_CUH

#include "attention_decode.cuh"
#include "finite.cuh"

namespace sx {
namespace cuda {
namespace decode {

/* Zeroes the values of a warp's step of 16 bf16 keys and values, which lie in these chunks, that are not
 * finite; returns whether this lane has found any. */
template <class P>
__device__ inline bool clean_values(uint4* chunks) {
  const uint32_t values = shared_address(chunks + P::kKeyChunks + threadIdx.x % 32);
  bool found = false;
#pragma unroll 4
  for (int i = 0; i < P::kKeyChunks / 32; i++) found |= zero_unfinite(values + i * 32 * 16);
  __syncwarp(); /* lanes read what others have cleaned */
  return found;
}

/* Adds the values of the keys from `begin` to `end` - 1 that are not finite to a block's rows of the working
 * memory, which it has written, each element by the same thread. */
template <int kDim, int kTiles>
__device__ inline void add_unfinite(const Decode& decode, const Job& job, const bf16* values,
                                    const Range& range, int64_t begin, int64_t end) {
  for (int i = threadIdx.x; i < kTiles * 8 * kDim; i += kThreads) {
    const int row = job.first + i / kDim;
    const int64_t to = split_row(decode, job, row);
    if (to < 0) continue;
    const Visible visible = visible_of(decode, range.count, row);
    float added = 0;
    for (int64_t key = max64(begin, visible.begin); key < min64(end, visible.end); key++) {
      const float value = widen(values[key * decode.token_stride + i % kDim]);
      if (!isfinite(value)) added += value;
    }
    if (added != 0) decode.partial[to * kDim + i % kDim] += added;
  }
}

}  // namespace decode
}  // namespace cuda
}  // namespace sx

#endif
