/*
 * The exported functions that are the same for every backend: the version, errors, the end of a
 * context, memory.
 */
#include <stdio.h>

#include <new>

#include "checks.h"

namespace sx {

/* A piece that sx_alloc handed out. The list lies in the host's memory on every backend. */
struct Allocation {
  Allocation* next;
  void* memory;
};

sx_status fail(const Call& call, const char* rule, long long value) {
  snprintf(call.context.error, sizeof call.context.error, "Cannot %s as %s: current value is %lld",
           call.action, rule, value);
  return SX_INVALID_ARGUMENT;
}

sx_status lacks(const Call& call, const char* rule, long long value) {
  fail(call, rule, value);
  return SX_UNSUPPORTED;
}

}  // namespace sx

using namespace sx;

uint32_t sx_abi_version(void) { return SX_ABI_VERSION; }

sx_status sx_error_text(sx_context* context, char* out, uint64_t size) {
  if (context == nullptr || out == nullptr || size == 0) return SX_INVALID_ARGUMENT;
  snprintf(out, size, "%s", context->error);
  return SX_OK;
}

sx_status sx_context_destroy(sx_context* context) {
  if (context == nullptr) return SX_INVALID_ARGUMENT;
  SX_PASS(enter(*context));
  const sx_status status = close_context(*context);
  while (context->allocations != nullptr) {
    Allocation* next = context->allocations->next;
    return_memory(*context, context->allocations->memory);
    delete context->allocations;
    context->allocations = next;
  }
  delete context;
  return status;
}

sx_status sx_alloc(sx_context* context, uint64_t bytes, uint64_t* out) {
  if (context == nullptr) return SX_INVALID_ARGUMENT;
  SX_PASS(enter(*context));
  const Call call = {*context, "allocate"};
  SX_CHECK(call, out != nullptr, "out must not be null", 0);
  SX_CHECK(call, bytes < (1ull << 62), "bytes must be below 2^62", bytes);
  Allocation* allocation = new (std::nothrow) Allocation{context->allocations, nullptr};
  if (allocation == nullptr) return SX_OUT_OF_MEMORY;
  const sx_status status = take_memory(*context, bytes, &allocation->memory);
  if (status != SX_OK) {
    delete allocation;
    return status;
  }
  context->allocations = allocation;
  context->live_allocations++;
  *out = reinterpret_cast<uint64_t>(allocation->memory);
  return SX_OK;
}

sx_status sx_free(sx_context* context, void* memory) {
  if (context == nullptr) return SX_INVALID_ARGUMENT;
  SX_PASS(enter(*context));
  for (Allocation** link = &context->allocations; *link != nullptr; link = &(*link)->next) {
    Allocation* allocation = *link;
    if (allocation->memory != memory) continue;
    *link = allocation->next;
    context->live_allocations--;
    delete allocation;
    return return_memory(*context, memory);
  }
  return fail({*context, "free memory"}, "it must be from sx_alloc of this context",
              reinterpret_cast<long long>(memory));
}

int64_t sx_live_allocations(sx_context* context) {
  return context == nullptr ? -1 : context->live_allocations;
}

sx_status sx_copy(sx_context* context, const sx_copy_params* params) {
  SX_BEGIN(context, params, "copy");
  SX_CHECK(call, p.bytes >= 0, "bytes must be at least 0", p.bytes);
  SX_CHECK(call, p.rows >= 0, "rows must be at least 0", p.rows);
  if (p.bytes == 0 || p.rows == 0) return SX_OK;
  SX_CHECK(call, p.out != nullptr && p.in != nullptr, "out and in must not be null", 0);
  SX_CHECK(call, p.out_stride >= p.bytes, "out_stride must be at least bytes", p.out_stride);
  SX_CHECK(call, p.in_stride >= p.bytes, "in_stride must be at least bytes", p.in_stride);
  return copy_memory(*context, p);
}
