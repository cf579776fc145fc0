/*
 * Memory of a context: what sx_alloc hands out, and the ops' scratch memory.
 *
 * Large pieces come from mmap, zero-filled and, where the system likes, in huge pages; every piece
 * is preceded by one cache line that links it to its context.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <new>

#include "abi.h"

namespace sx {

struct Allocation {
  Allocation* next;
  uint64_t total_bytes; /* this header included */
  bool mapped;
};

namespace {

constexpr uint64_t kHeaderBytes = 64;
static_assert(sizeof(Allocation) <= kHeaderBytes, "the header is one cache line");
/* From here on zero pages of the system are cheaper than writing zeros. */
constexpr uint64_t kMapBytes = 1 << 20;
constexpr uint64_t kHugePageBytes = 2 << 20;

Allocation* take(uint64_t total) {
  if (total >= kMapBytes) {
    void* memory = mmap(nullptr, total, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) return nullptr;
    if (total >= 2 * kHugePageBytes) madvise(memory, total, MADV_HUGEPAGE);
    return new (memory) Allocation{nullptr, total, true};
  }
  const uint64_t rounded = (total + kHeaderBytes - 1) / kHeaderBytes * kHeaderBytes;
  void* memory = aligned_alloc(kHeaderBytes, rounded);
  if (memory == nullptr) return nullptr;
  memset(memory, 0, rounded);
  return new (memory) Allocation{nullptr, total, false};
}

void give_back(Allocation* allocation) {
  if (allocation->mapped) {
    munmap(allocation, allocation->total_bytes);
  } else {
    free(allocation);
  }
}

char* data_of(Allocation* allocation) {
  return reinterpret_cast<char*>(allocation) + kHeaderBytes;
}

}  // namespace

void* scratch(Context& context, int64_t bytes) {
  if (bytes < 1) bytes = 1;
  if (bytes <= context.scratch_bytes) return context.scratch;
  Allocation* larger = take(static_cast<uint64_t>(bytes) + kHeaderBytes);
  if (larger == nullptr) return nullptr;
  free_scratch(context);
  context.scratch = data_of(larger);
  context.scratch_bytes = bytes;
  return context.scratch;
}

void free_scratch(Context& context) {
  if (context.scratch == nullptr) return;
  give_back(reinterpret_cast<Allocation*>(static_cast<char*>(context.scratch) - kHeaderBytes));
  context.scratch = nullptr;
  context.scratch_bytes = 0;
}

sx_status out_of_scratch(Context& context, const char* op, int64_t bytes) {
  snprintf(context.error, sizeof context.error,
           "Cannot run %s as %lld bytes of working memory are not available", op,
           static_cast<long long>(bytes));
  return SX_OUT_OF_MEMORY;
}

void free_all(Context& context) {
  while (context.allocations != nullptr) {
    Allocation* next = context.allocations->next;
    give_back(context.allocations);
    context.allocations = next;
  }
  context.live_allocations = 0;
  free_scratch(context);
}

}  // namespace sx

using namespace sx;

sx_status sx_alloc(sx_context* context, uint64_t bytes, uint64_t* out) {
  SX_CHECK_CONTEXT(context);
  SX_CHECK(context, out != nullptr, "allocate", "out must not be null", 0);
  SX_CHECK(context, bytes < (1ull << 62), "allocate", "bytes must be below 2^62", bytes);
  Allocation* allocation = take(bytes + kHeaderBytes);
  if (allocation == nullptr) {
    snprintf(context->error, sizeof context->error,
             "Cannot allocate %llu bytes as the system has no memory left",
             static_cast<unsigned long long>(bytes));
    return SX_OUT_OF_MEMORY;
  }
  allocation->next = context->allocations;
  context->allocations = allocation;
  context->live_allocations++;
  *out = reinterpret_cast<uint64_t>(data_of(allocation));
  return SX_OK;
}

sx_status sx_free(sx_context* context, void* memory) {
  SX_CHECK_CONTEXT(context);
  for (Allocation** link = &context->allocations; *link != nullptr; link = &(*link)->next) {
    Allocation* allocation = *link;
    if (data_of(allocation) != memory) continue;
    *link = allocation->next;
    context->live_allocations--;
    give_back(allocation);
    return SX_OK;
  }
  return fail(*context, "free memory", "it must be from sx_alloc of this context",
              reinterpret_cast<long long>(memory));
}

int64_t sx_live_allocations(sx_context* context) {
  return context == nullptr ? -1 : context->live_allocations;
}

sx_status sx_copy(sx_context* context, void* out, const void* in, uint64_t bytes) {
  SX_CHECK_CONTEXT(context);
  SX_CHECK(context, bytes == 0 || (out != nullptr && in != nullptr), "copy",
           "out and in must not be null", 0);
  if (bytes > 0) memmove(out, in, bytes);
  return SX_OK;
}
