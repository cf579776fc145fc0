/*
 * Sliding windows: the first key that a query sees, by original positions, in the order in which a
 * call has its keys.
 */
#ifndef SX_ABI_WINDOW_H
#define SX_ABI_WINDOW_H

#include "../sx_kernels.h"

#ifdef __CUDACC__
#define SX_EVERYWHERE __host__ __device__ inline
#else
#define SX_EVERYWHERE inline
#endif

namespace sx {

/* What decides about the first visible key of a query. */
struct Window {
  int64_t tokens; /* 0: none */
  int64_t prefix_tokens, prefix_gap;

  /* The first key that the query at a place of the sequence sees: 0 without a window. Keys behind the
   * prefix have positions that are prefix_gap above their places. */
  SX_EVERYWHERE int64_t first_key(int64_t place) const {
    if (tokens == 0) return 0;
    const int64_t low = place + (place < prefix_tokens ? 0 : prefix_gap) - tokens + 1;
    if (low <= 0) return 0;
    if (low < prefix_tokens) return low;
    const int64_t own = low - prefix_gap;
    return own > prefix_tokens ? own : prefix_tokens;
  }
  /* The first key tile that a row tile, counted in the sequence, sees. */
  SX_EVERYWHERE int64_t first_tile(int64_t row_tile) const {
    return first_key(row_tile * SX_TILE) / SX_TILE;
  }
};

SX_EVERYWHERE Window window_of(const sx_key_values& kv, int64_t tokens) {
  return {tokens, kv.prefix_tokens, kv.prefix_gap};
}

}  // namespace sx

#endif
