/*
 * Memory of a context: what sx_alloc hands out, and the ops' scratch memory.
 *
 * Large pieces come from mmap, zero-filled and, where the system likes, in huge pages; every piece
 * is preceded by one cache line that says how it was taken.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <new>

#include "backend.h"

namespace sx {

namespace {

struct Piece {
  uint64_t total_bytes; /* this header included */
  bool mapped;
};

constexpr uint64_t kHeaderBytes = 64;
static_assert(sizeof(Piece) <= kHeaderBytes, "the header is one cache line");
/* From here on zero pages of the system are cheaper than writing zeros. */
constexpr uint64_t kMapBytes = 1 << 20;
constexpr uint64_t kHugePageBytes = 2 << 20;

Piece* take(uint64_t total) {
  if (total >= kMapBytes) {
    void* memory = mmap(nullptr, total, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) return nullptr;
    if (total >= 2 * kHugePageBytes) madvise(memory, total, MADV_HUGEPAGE);
    return new (memory) Piece{total, true};
  }
  const uint64_t rounded = (total + kHeaderBytes - 1) / kHeaderBytes * kHeaderBytes;
  void* memory = aligned_alloc(kHeaderBytes, rounded);
  if (memory == nullptr) return nullptr;
  memset(memory, 0, rounded);
  return new (memory) Piece{total, false};
}

void give_back(Piece* piece) {
  if (piece->mapped) {
    munmap(piece, piece->total_bytes);
  } else {
    free(piece);
  }
}

void* data_of(Piece* piece) { return reinterpret_cast<char*>(piece) + kHeaderBytes; }

Piece* piece_of(void* data) {
  return reinterpret_cast<Piece*>(static_cast<char*>(data) - kHeaderBytes);
}

}  // namespace

void* scratch(Context& context, int64_t bytes) {
  if (bytes < 1) bytes = 1;
  if (bytes <= context.scratch_bytes) return context.scratch;
  Piece* larger = take(static_cast<uint64_t>(bytes) + kHeaderBytes);
  if (larger == nullptr) return nullptr;
  free_scratch(context);
  context.scratch = data_of(larger);
  context.scratch_bytes = bytes;
  return context.scratch;
}

void free_scratch(Context& context) {
  if (context.scratch == nullptr) return;
  give_back(piece_of(context.scratch));
  context.scratch = nullptr;
  context.scratch_bytes = 0;
}

sx_status out_of_scratch(Context& context, const char* op, int64_t bytes) {
  snprintf(context.error, sizeof context.error,
           "Cannot run %s as %lld bytes of working memory are not available", op,
           static_cast<long long>(bytes));
  return SX_OUT_OF_MEMORY;
}

sx_status take_memory(Context& context, uint64_t bytes, void** out) {
  Piece* piece = take(bytes + kHeaderBytes);
  if (piece == nullptr) {
    snprintf(context.error, sizeof context.error,
             "Cannot allocate %llu bytes as the system has no memory left",
             static_cast<unsigned long long>(bytes));
    return SX_OUT_OF_MEMORY;
  }
  *out = data_of(piece);
  return SX_OK;
}

sx_status return_memory(Context&, void* memory) {
  give_back(piece_of(memory));
  return SX_OK;
}

sx_status copy_memory(Context&, const sx_copy_params& params) {
  const int64_t bytes = params.bytes;
  const bool whole = params.out_stride == bytes && params.in_stride == bytes;
  const size_t step = static_cast<size_t>(whole ? bytes * params.rows : bytes);
  for (int64_t r = 0; r < (whole ? 1 : params.rows); r++) {
    memmove(static_cast<char*>(params.out) + r * params.out_stride,
            static_cast<const char*>(params.in) + r * params.in_stride, step);
  }
  return SX_OK;
}

}  // namespace sx
