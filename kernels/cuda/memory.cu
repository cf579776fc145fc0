/*
 * Memory of a context: what sx_alloc hands out, and the ops' working memory, all from cudaMalloc.
 *
 * cudaFree waits for the device, so that nothing is freed
 * under a running kernel.
 */
#include <stdio.h>

#include "backend.h"

namespace sx {
namespace cuda {

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

sx_status take_memory(Context& context, uint64_t bytes, void** out) {
  void* memory = nullptr;
  cudaError_t error = cudaMalloc(&memory, bytes == 0 ? 1 : bytes);
  if (error != cudaSuccess) {
    cudaGetLastError();
    snprintf(context.error, sizeof context.error,
             "Cannot allocate %llu bytes as the GPU reported %s (%s)",
             static_cast<unsigned long long>(bytes), cudaGetErrorName(error),
             cudaGetErrorString(error));
    return error == cudaErrorMemoryAllocation ? SX_OUT_OF_MEMORY : SX_DEVICE_ERROR;
  }
  error = cudaMemsetAsync(memory, 0, bytes, context.stream);
  if (error == cudaSuccess) error = cudaStreamSynchronize(context.stream);
  if (error != cudaSuccess) {
    cudaFree(memory);
    return device_failure(context, "clear an allocation", error);
  }
  *out = memory;
  return SX_OK;
}

sx_status return_memory(Context& context, void* memory) {
  const cudaError_t error = cudaFree(memory);
  return error == cudaSuccess ? SX_OK : device_failure(context, "free memory", error);
}

sx_status copy_memory(Context& context, const sx_copy_params& params) {
  const size_t bytes = static_cast<size_t>(params.bytes), rows = static_cast<size_t>(params.rows);
  const size_t to = static_cast<size_t>(params.out_stride);
  const size_t from = static_cast<size_t>(params.in_stride);
  const cudaError_t error = (to == bytes && from == bytes) || rows == 1
                                ? cudaMemcpyAsync(params.out, params.in, bytes * rows,
                                                  cudaMemcpyDeviceToDevice, context.stream)
                                : cudaMemcpy2DAsync(params.out, to, params.in, from, bytes, rows,
                                                    cudaMemcpyDeviceToDevice, context.stream);
  return error == cudaSuccess ? SX_OK : device_failure(context, "copy", error);
}

}  // namespace cuda
}  // namespace sx
