/*
 * Scalar twin of select_blocks (XAttention, arXiv 2503.16428, section 2.1): takes the largest
 * block that is left, again and again, as long as the mass taken is below the threshold's share.
 */

#include "../cpu/ops.h"

namespace sx {
namespace scalar {

namespace {

/* Whether block is in the list already. */
bool taken(const int32_t* list, int32_t count, int64_t block) {
  for (int32_t i = 0; i < count; i++) {
    if (list[i] == block) return true;
  }
  return false;
}

/* The untaken block of the largest mass above 0 among 0..last, or -1. */
int64_t largest(const float* mass, int64_t last, const int32_t* list, int32_t count) {
  int64_t best = -1;
  for (int64_t block = 0; block <= last; block++) {
    if (!(mass[block] > 0) || taken(list, count, block)) continue;
    if (best < 0 || mass[block] > mass[best]) best = block;
  }
  return best;
}

int32_t select_row(const SelectArgs& args, const float* mass, int64_t last, int32_t* list) {
  int32_t count = 0;
  if (args.threshold >= 1) {
    while (count <= last) {
      list[count] = count;
      count++;
    }
    return count;
  }
  double total = 0;
  for (int64_t block = 0; block <= last; block++) total += mass[block];
  const double wanted = static_cast<double>(args.threshold) * total;
  list[count++] = 0;
  double sum = mass[0];
  if (last > 0) {
    list[count++] = static_cast<int32_t>(last);
    sum += mass[last];
  }
  while (sum < wanted) {
    const int64_t block = largest(mass, last, list, count);
    if (block < 0) break;
    list[count++] = static_cast<int32_t>(block);
    sum += mass[block];
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

}  // namespace

sx_status select_blocks(Context&, const SelectArgs& args) {
  for (int64_t h = 0; h < args.heads; h++) {
    for (int64_t b = 0; b < args.q_blocks; b++) {
      const int64_t row = h * args.q_blocks + b;
      args.counts[row] = select_row(args, args.mass + row * args.key_blocks, args.first_block + b,
                                    args.indices + row * args.index_stride);
    }
  }
  return SX_OK;
}

}  // namespace scalar
}  // namespace sx
