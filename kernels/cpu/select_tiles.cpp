/*
 * Chooses the key tiles of every row of tiles by their antidiagonal mass (see sx_select_tiles in
 * ../sx_attention.h; XAttention, arXiv 2503.16428, section 2.1).
 *
 * The first tile that the row sees and the diagonal tile are taken first; the others leave a heap, largest first, while the
 * mass taken is below threshold * (mass of the row). Sums run in double precision in a fixed order.
 * By share, each tile is compared with threshold * (mass of the row), and nothing is sorted.
 * Bytes read 4*heads*q_tiles*key_tiles; about N/128 * log2(N/128) comparisons a row. The heap
 * lives in the row's own part of `indices`: it holds at most key_tiles - 2 numbers. Taken tiles
 * gather behind the heap, in the places that it frees.
 */
#include "../abi/window.h"
#include "ops.h"
#include "thread_pool.h"
#include "tile_heap.h"

namespace sx {
namespace SX_ISA {

namespace {

/* Moves list[at] down in a heap whose largest number comes first. */
void sift_number_down(int32_t* list, int64_t at, int64_t size) {
  const int32_t moved = list[at];
  for (int64_t child = 2 * at + 1; child < size; child = 2 * at + 1) {
    if (child + 1 < size && list[child + 1] > list[child]) child++;
    if (list[child] <= moved) break;
    list[at] = list[child];
    at = child;
  }
  list[at] = moved;
}

void sort_ascending(int32_t* list, int64_t size) {
  for (int64_t at = size / 2 - 1; at >= 0; at--) sift_number_down(list, at, size);
  for (int64_t left = size - 1; left > 0; left--) {
    const int32_t largest = list[0];
    list[0] = list[left];
    list[left] = largest;
    sift_number_down(list, 0, left);
  }
}

/* Takes tiles from 1..last-1 until the sum reaches `wanted`. They end up sorted at list[1]..;
 * returns how many. */
int64_t take_largest(const float* mass, int64_t last, double sum, double wanted, int32_t* list) {
  int32_t* heap = list + 1;
  int64_t size = 0;
  for (int64_t tile = 1; tile < last; tile++) {
    if (mass[tile] > 0) heap[size++] = static_cast<int32_t>(tile);
  }
  const int64_t candidates = size;
  for (int64_t at = size / 2 - 1; at >= 0; at--) sift_down(mass, heap, at, size);
  while (size > 0 && sum < wanted) {
    const int32_t taken = heap[0];
    sum += mass[taken];
    heap[0] = heap[--size];
    if (size > 0) sift_down(mass, heap, 0, size);
    heap[size] = taken;
  }
  const int64_t count = candidates - size;
  for (int64_t i = 0; i < count; i++) heap[i] = heap[size + i];
  sort_ascending(heap, count);
  return count;
}

/* Chooses from the tiles 0..last, counted from the first one that the row sees. */
int32_t select_seen(float threshold, const float* mass, int64_t last, int32_t* list) {
  if (threshold >= 1) {
    for (int64_t tile = 0; tile <= last; tile++) list[tile] = static_cast<int32_t>(tile);
    return static_cast<int32_t>(last + 1);
  }
  list[0] = 0;
  if (last == 0) return 1;
  double total = 0;
  for (int64_t tile = 0; tile <= last; tile++) total += mass[tile];
  const double wanted = static_cast<double>(threshold) * total;
  const double sum = static_cast<double>(mass[0]) + mass[last];
  const int64_t count = take_largest(mass, last, sum, wanted, list);
  list[count + 1] = static_cast<int32_t>(last);
  return static_cast<int32_t>(count + 2);
}

/* The same tiles, each by its own share. */
int32_t select_by_share(float threshold, const float* mass, int64_t last, int32_t* list) {
  double total = 0;
  for (int64_t tile = 0; tile <= last; tile++) total += mass[tile];
  const double wanted = static_cast<double>(threshold) * total;
  int32_t count = 0;
  for (int64_t tile = 0; tile < last; tile++) {
    list[count] = static_cast<int32_t>(tile);
    count += mass[tile] >= wanted ? 1 : 0;
  }
  list[count] = static_cast<int32_t>(last);
  return count + 1;
}

int32_t select_row(const sx_select_tiles_params& args, int64_t row) {
  const int64_t last = args.first_tile + row % args.q_tiles;
  const float* mass = args.mass + row * args.key_tiles;
  int32_t* list = args.indices + row * args.index_stride;
  const float threshold =
      args.head_thresholds == nullptr ? args.threshold : args.head_thresholds[row / args.q_tiles];
  const Window window = {args.window, args.prefix_tokens, args.prefix_gap};
  const int32_t first = static_cast<int32_t>(window.first_tile(last));
  const int32_t count = args.by_share == 1
                            ? select_by_share(threshold, mass + first, last - first, list)
                            : select_seen(threshold, mass + first, last - first, list);
  for (int32_t i = 0; i < count; i++) list[i] += first;
  return count;
}

}  // namespace

sx_status select_tiles(Context& context, const sx_select_tiles_params& args) {
  parallel_for(context, args.heads * args.q_tiles, row_grain(args.key_tiles * 16),
               [&](int64_t begin, int64_t end, int32_t) {
                 for (int64_t row = begin; row < end; row++) {
                   args.counts[row] = select_row(args, row);
                 }
               });
  return SX_OK;
}

}  // namespace SX_ISA
}  // namespace sx
