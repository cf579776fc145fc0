/*
 * Values that are not finite, which must not reach queries that do not see them: a masked key has a
 * weight of 0, and 0 times NaN or infinity is NaN.
 *
 * In a tile of which some row of a block does not see all keys such values become 0 in shared memory,
 * so that a row's bits are the same whatever later tokens hold. A block that has found some adds them
 * to the output of the rows that see them in the end, read again from device memory: it is then NaN
 * or infinite whatever their weights were.
 */
#ifndef SX_CUDA_ATTENTION_FINITE_CUH
#define SX_CUDA_ATTENTION_FINITE_CUH

#include "attention.cuh"
#include "finite.cuh"

namespace sx {
namespace cuda {

/* Whether every row of a block sees all keys of a tile that are there. What lies behind a prefix is
 * read as 0. */
template <int kKeys>
__device__ inline bool sees_all(const AttentionParams& params, int q_block, const Tile& tile) {
  const int64_t first = params.q_offset + static_cast<int64_t>(q_block) * kRowBlock;
  const int keys = tile.is_prefix ? tile.count : kKeys;
  return tile.base + keys <= first + 1 &&
         params.window.first_key(first + kRowBlock - 1) <= tile.base;
}

/* The first of the last tiles of which none is seen whole: without a window, all such tiles. */
template <class KeyWalk>
__device__ inline int first_partial(const AttentionParams& params, int q_block,
                                    const KeyWalk& walk) {
  int n = walk.tiles;
  while (n > 0 && !sees_all<KeyWalk::kWidth>(params, q_block, walk.tile(n - 1))) n--;
  return n;
}

/* Adds the values that zero_unfinite() may have taken from the products of a block's rows to its
 * output, which is written: by some threads together. */
template <int kDim, class KeyWalk, class Place>
__device__ inline void add_unfinite(const AttentionParams& params, const KeyWalk& walk,
                                    const Place& job, int thread, int threads) {
  for (int i = thread; i < kRowBlock * kDim; i += threads) {
    const int64_t row = static_cast<int64_t>(job.q_block) * kRowBlock + i / kDim;
    if (row >= params.q_tokens) return;
    const int64_t place = params.q_offset + row, first_key = params.window.first_key(place);
    float added = 0;
    for (int number = 0; number < walk.tiles; number++) {
      const Tile tile = walk.tile(number);
      if (sees_all<KeyWalk::kWidth>(params, job.q_block, tile)) continue;
      const Segment& segment = tile.is_prefix ? params.prefix : params.own;
      const bf16* values = segment.values + job.head / params.group * segment.head_stride +
                           tile.first * segment.token_stride + i % kDim;
      const int begin = static_cast<int>(max64(0, first_key - tile.base));
      const int end = static_cast<int>(min64(tile.count, place + 1 - tile.base));
      for (int key = begin; key < end; key++) {
        const float value = widen(values[key * segment.token_stride]);
        if (!isfinite(value)) added += value;
      }
    }
    if (added == 0) continue;
    const int64_t at = (row * params.q_heads + job.head) * kDim + i % kDim;
    const float sum = read_element(params.out, params.out_dtype, at) + added;
    if (params.out_dtype == SX_BF16) {
      put(static_cast<bf16*>(params.out) + at, sum);
    } else {
      put(static_cast<float*>(params.out) + at, sum);
    }
  }
}

}  // namespace cuda
}  // namespace sx

#endif
