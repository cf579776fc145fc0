/*
 * Scalar twin of select_tiles (XAttention, arXiv 2503.16428, section 2.1): takes the largest
 * tile that is left, again and again, as long as the mass taken is below the threshold's share; or
 * asks each tile for a share of its own.
 */

#include "../abi/window.h"
#include "../cpu/ops.h"

namespace sx {
namespace scalar {

namespace {

/* Whether tile is in the list already. */
bool taken(const int32_t* list, int32_t count, int64_t tile) {
  for (int32_t i = 0; i < count; i++) {
    if (list[i] == tile) return true;
  }
  return false;
}

/* The untaken tile of the largest mass above 0 among 0..last, or -1. */
int64_t largest(const float* mass, int64_t last, const int32_t* list, int32_t count) {
  int64_t best = -1;
  for (int64_t tile = 0; tile <= last; tile++) {
    if (!(mass[tile] > 0) || taken(list, count, tile)) continue;
    if (best < 0 || mass[tile] > mass[best]) best = tile;
  }
  return best;
}

int32_t select_row(float threshold, const float* mass, int64_t last, int32_t* list) {
  int32_t count = 0;
  if (threshold >= 1) {
    while (count <= last) {
      list[count] = count;
      count++;
    }
    return count;
  }
  double total = 0;
  for (int64_t tile = 0; tile <= last; tile++) total += mass[tile];
  const double wanted = static_cast<double>(threshold) * total;
  list[count++] = 0;
  double sum = mass[0];
  if (last > 0) {
    list[count++] = static_cast<int32_t>(last);
    sum += mass[last];
  }
  while (sum < wanted) {
    const int64_t tile = largest(mass, last, list, count);
    if (tile < 0) break;
    list[count++] = static_cast<int32_t>(tile);
    sum += mass[tile];
  }
  for (int32_t i = 1; i < count; i++) {
    for (int32_t j = i; j > 0 && list[j - 1] > list[j]; j--) {
      const int32_t swapped = list[j];
      list[j] = list[j - 1];
      list[j - 1] = swapped;
    }
  }
  return count;
}

int32_t select_by_share(float threshold, const float* mass, int64_t last, int32_t* list) {
  double total = 0;
  for (int64_t tile = 0; tile <= last; tile++) total += mass[tile];
  int32_t count = 0;
  for (int64_t tile = 0; tile <= last; tile++) {
    if (tile == last || mass[tile] >= threshold * total) list[count++] = static_cast<int32_t>(tile);
  }
  return count;
}

}  // namespace

sx_status select_tiles(Context&, const sx_select_tiles_params& args) {
  for (int64_t h = 0; h < args.heads; h++) {
    const float threshold =
        args.head_thresholds == nullptr ? args.threshold : args.head_thresholds[h];
    for (int64_t b = 0; b < args.q_tiles; b++) {
      const int64_t row = h * args.q_tiles + b;
      const Window window = {args.window, args.prefix_tokens, args.prefix_gap};
      const int64_t last = args.first_tile + b, first = window.first_tile(last);
      int32_t* list = args.indices + row * args.index_stride;
      const float* mass = args.mass + row * args.key_tiles;
      args.counts[row] = args.by_share == 1
                             ? select_by_share(threshold, mass + first, last - first, list)
                             : select_row(threshold, mass + first, last - first, list);
      for (int32_t i = 0; i < args.counts[row]; i++) list[i] += static_cast<int32_t>(first);
    }
  }
  return SX_OK;
}

}  // namespace scalar
}  // namespace sx
