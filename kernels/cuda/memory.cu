/*
 * Memory of a context: what sx_alloc hands out, and the ops' working memory, all from cudaMalloc.
 *
 * The list of allocations lies on the host. cudaFree waits for the device, so that nothing is freed
 * under a running kernel.
 */
#include <stdio.h>

#include <new>

#include "abi.cuh"

namespace sx {
namespace cuda {

struct Allocation {
  Allocation* next;
  void* memory;
};

void* scratch(Context& context, const char* op, int64_t bytes) {
  if (bytes <= context.scratch_bytes) return context.scratch;
  cudaStreamCaptureStatus capture = cudaStreamCaptureStatusNone;
  cudaError_t error = cudaStreamIsCapturing(context.stream, &capture);
  if (error == cudaSuccess && capture != cudaStreamCaptureStatusNone) {
    snprintf(context.error, sizeof context.error,
             "Cannot %s as its working memory must not grow while a graph is captured: current "
             "value is %lld of %lld bytes",
             op, static_cast<long long>(context.scratch_bytes), static_cast<long long>(bytes));
    return nullptr;
  }
  void* larger = nullptr;
  if (error == cudaSuccess) error = cudaMalloc(&larger, static_cast<size_t>(bytes));
  if (error != cudaSuccess) {
    cudaGetLastError();
    snprintf(context.error, sizeof context.error,
             "Cannot %s as %lld bytes of working memory are not available: the GPU reported %s", op,
             static_cast<long long>(bytes), cudaGetErrorName(error));
    return nullptr;
  }
  free_scratch(context);
  context.scratch = larger;
  context.scratch_bytes = bytes;
  return context.scratch;
}

void free_scratch(Context& context) {
  if (context.scratch != nullptr) cudaFree(context.scratch);
  context.scratch = nullptr;
  context.scratch_bytes = 0;
}

void free_all(Context& context) {
  while (context.allocations != nullptr) {
    Allocation* next = context.allocations->next;
    cudaFree(context.allocations->memory);
    delete context.allocations;
    context.allocations = next;
  }
  context.live_allocations = 0;
  free_scratch(context);
}

}  // namespace cuda
}  // namespace sx

using namespace sx;
using namespace sx::cuda;

sx_status sx_alloc(sx_context* context, uint64_t bytes, uint64_t* out) {
  SX_CHECK_CONTEXT(context);
  SX_CHECK(context, out != nullptr, "allocate", "out must not be null", 0);
  SX_CHECK(context, bytes < (1ull << 62), "allocate", "bytes must be below 2^62", bytes);
  Allocation* allocation = new (std::nothrow) Allocation{context->allocations, nullptr};
  if (allocation == nullptr) return SX_OUT_OF_MEMORY;
  cudaError_t error = cudaMalloc(&allocation->memory, bytes == 0 ? 1 : bytes);
  if (error != cudaSuccess) {
    cudaGetLastError();
    delete allocation;
    snprintf(context->error, sizeof context->error,
             "Cannot allocate %llu bytes as the GPU reported %s (%s)",
             static_cast<unsigned long long>(bytes), cudaGetErrorName(error),
             cudaGetErrorString(error));
    return error == cudaErrorMemoryAllocation ? SX_OUT_OF_MEMORY : SX_DEVICE_ERROR;
  }
  context->allocations = allocation;
  context->live_allocations++;
  error = cudaMemsetAsync(allocation->memory, 0, bytes, context->stream);
  if (error == cudaSuccess) error = cudaStreamSynchronize(context->stream);
  if (error != cudaSuccess) {
    sx_free(context, allocation->memory);
    return device_failure(*context, "clear an allocation", error);
  }
  *out = reinterpret_cast<uint64_t>(allocation->memory);
  return SX_OK;
}

sx_status sx_free(sx_context* context, void* memory) {
  SX_CHECK_CONTEXT(context);
  for (Allocation** link = &context->allocations; *link != nullptr; link = &(*link)->next) {
    Allocation* allocation = *link;
    if (allocation->memory != memory) continue;
    *link = allocation->next;
    context->live_allocations--;
    delete allocation;
    const cudaError_t error = cudaFree(memory);
    return error == cudaSuccess ? SX_OK : device_failure(*context, "free memory", error);
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
  if (bytes == 0) return SX_OK;
  const cudaError_t error =
      cudaMemcpyAsync(out, in, bytes, cudaMemcpyDeviceToDevice, context->stream);
  return error == cudaSuccess ? SX_OK : device_failure(*context, "copy", error);
}
