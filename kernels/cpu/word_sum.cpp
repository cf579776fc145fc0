/*
 * The sum of the words of some memory (see sx_word_sum in ../sx_kernels.h): what a loop reaches that does
 * nothing but read, with the threads that every op has. Words wrap around, so that no order changes a bit.
 * Bytes: those that are summed.
 */
#include "ops.h"
#include "simd.h"
#include "thread_pool.h"

namespace sx {
namespace SX_ISA {

namespace {

/* A thread takes so many bytes at a time. */
constexpr int64_t kChunkBytes = 1 << 19;
/* Vectors of a step, each with a sum of its own. */
constexpr int kVectors = 4;
/* Memory is asked for so far ahead: 28 to 30 GB/s with two cores of a Xeon (AMX), 26 without. 1, 2, 8 and
 * 16 KiB read as much or less, a half of the memory for each thread 24. */
constexpr int64_t kAheadBytes = 4096;

typedef uint32_t Words __attribute__((vector_size(4 * kLanes)));
constexpr int64_t kStepBytes = kVectors * sizeof(Words);

uint32_t sum_bytes(const char* in, int64_t bytes) {
  Words sums[kVectors] = {};
  int64_t at = 0;
  for (; at + kStepBytes <= bytes; at += kStepBytes) {
    for (int64_t line = 0; line < kStepBytes; line += 64) prefetch_l2(in + at + kAheadBytes + line);
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; v++) {
      Words words;
      __builtin_memcpy(&words, in + at + v * sizeof words, sizeof words);
      sums[v] += words;
    }
  }
  uint32_t total = 0;
  for (int v = 0; v < kVectors; v++) {
    for (int lane = 0; lane < kLanes; lane++) total += sums[v][lane];
  }
  for (; at < bytes; at += 4) {
    uint32_t word;
    __builtin_memcpy(&word, in + at, sizeof word);
    total += word;
  }
  return total;
}

}  // namespace

sx_status word_sum(Context& context, const sx_word_sum_params& args) {
  uint32_t total = 0;
  parallel_for(context, ceil_div(args.bytes, kChunkBytes), 1,
               [&](int64_t begin, int64_t end, int32_t) {
                 const int64_t first = begin * kChunkBytes;
                 const int64_t last = min64(end * kChunkBytes, args.bytes);
                 const char* in = static_cast<const char*>(args.in) + first;
                 __atomic_fetch_add(&total, sum_bytes(in, last - first), __ATOMIC_RELAXED);
               });
  *args.out = static_cast<int32_t>(total);
  return SX_OK;
}

}  // namespace SX_ISA
}  // namespace sx
