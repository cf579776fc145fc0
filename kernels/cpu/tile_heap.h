/*
 * A heap of tile numbers, the largest mass first and of equal ones the lower number, for the kernels
 * that choose tiles.
 */
#ifndef SX_CPU_TILE_HEAP_H
#define SX_CPU_TILE_HEAP_H

#include "common.h"

namespace sx {
namespace SX_ISA {

/* Whether tile a goes before tile b: more mass, or the same and a lower number. */
SX_INLINE bool before(const float* mass, int32_t a, int32_t b) {
  return mass[a] > mass[b] || (mass[a] == mass[b] && a < b);
}

/* Moves heap[at] down until no child goes before it. */
SX_INLINE void sift_down(const float* mass, int32_t* heap, int64_t at, int64_t size) {
  const int32_t moved = heap[at];
  for (int64_t child = 2 * at + 1; child < size; child = 2 * at + 1) {
    if (child + 1 < size && before(mass, heap[child + 1], heap[child])) child++;
    if (!before(mass, heap[child], moved)) break;
    heap[at] = heap[child];
    at = child;
  }
  heap[at] = moved;
}

}  // namespace SX_ISA
}  // namespace sx

#endif
