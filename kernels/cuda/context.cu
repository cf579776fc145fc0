/*
 * The CUDA library's contexts: a device, its stream, and whether ops take their Hopper builds.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <new>

#include "backend.h"

namespace sx {
namespace cuda {

sx_status device_failure(Context& context, const char* op, cudaError_t error) {
  snprintf(context.error, sizeof context.error, "Cannot %s as the GPU reported %s (%s)", op,
           cudaGetErrorName(error), cudaGetErrorString(error));
  if (error == cudaErrorMemoryAllocation) return SX_OUT_OF_MEMORY;
  const bool no_code = error == cudaErrorNoKernelImageForDevice ||
                       error == cudaErrorInvalidKernelImage ||
                       error == cudaErrorUnsupportedPtxVersion;
  return no_code ? SX_UNSUPPORTED : SX_DEVICE_ERROR;
}

sx_status enter(Context& context) {
  const cudaError_t error = cudaSetDevice(context.device);
  return error == cudaSuccess ? SX_OK : device_failure(context, "use the device", error);
}

namespace {

/* Ampere's first is the oldest with bf16 tensor cores and asynchronous copies. */
constexpr int32_t kOldest = 80;
constexpr int32_t kHopper = 90;

/* Compute capability of a device, or 0. */
int32_t capability_of(int32_t device) {
  int major = 0, minor = 0;
  if (cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device) != cudaSuccess ||
      cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device) != cudaSuccess) {
    cudaGetLastError();
    return 0;
  }
  return major * 10 + minor;
}

/* The driver's function that describes a tensor to the copy engine; null if it has none. */
void* find_encoder() {
  void* function = nullptr;
  cudaDriverEntryPointQueryResult found = cudaDriverEntryPointSymbolNotFound;
  const cudaError_t error = cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &function,
                                                             12000, cudaEnableDefault, &found);
  if (error != cudaSuccess) cudaGetLastError();
  return error == cudaSuccess && found == cudaDriverEntryPointSuccess ? function : nullptr;
}

/* Whether a Hopper GPU runs its own builds of ops unless the environment says otherwise: the one place
 * to change if it must not. */
constexpr bool kHopperByDefault = true;

/* Which build of an op runs: by the device, or as the environment variable STARX_CUDA_KERNELS says
 * when the context is made: `generic` (any device), or `hopper` (refused where the device is none).
 * Unset or empty: the device's. */
sx_status choose_build(Context& context) {
  const char* wish = getenv("STARX_CUDA_KERNELS");
  const bool generic = wish != nullptr && strcmp(wish, "generic") == 0;
  const bool hopper = wish != nullptr && strcmp(wish, "hopper") == 0;
  if (wish != nullptr && wish[0] != 0 && !generic && !hopper) return SX_INVALID_ARGUMENT;
  if (hopper && context.capability != kHopper) return SX_UNSUPPORTED;
  if (context.capability != kHopper || !(hopper || (kHopperByDefault && !generic))) return SX_OK;
  context.encode_tensor_map = find_encoder();
  context.hopper = context.encode_tensor_map != nullptr;
  return hopper && !context.hopper ? SX_UNSUPPORTED : SX_OK;
}

}  // namespace

sx_status close_context(Context& context) {
  const cudaError_t error = cudaStreamSynchronize(context.stream);
  free_scratch(context);
  return error == cudaSuccess ? SX_OK : SX_DEVICE_ERROR;
}

}  // namespace cuda
}  // namespace sx

using namespace sx;
using namespace sx::cuda;

sx_status sx_describe(char* out, uint64_t size) {
  if (out == nullptr) return SX_INVALID_ARGUMENT;
  const int32_t capability = capability_of(0);
  const bool hopper = capability == kHopper && kHopperByDefault;
  const char* best = hopper ? "hopper" : capability >= kOldest ? "generic" : "";
  char text[256];
  const int length = snprintf(
      text, sizeof text,
      "{\"backend\":\"cuda\",\"isa\":[\"generic\",\"hopper\"],\"best\":\"%s\",\"scalar\":false}",
      best);
  if (static_cast<uint64_t>(length) >= size) return SX_INVALID_ARGUMENT;
  memcpy(out, text, length + 1);
  return SX_OK;
}

sx_status sx_context_create(int32_t device, int32_t, int32_t isa, uint64_t stream, uint64_t* out) {
  if (device < 0 || isa != SX_ISA_AUTO || out == nullptr) return SX_INVALID_ARGUMENT;
  int count = 0;
  if (cudaGetDeviceCount(&count) != cudaSuccess) {
    cudaGetLastError();
    return SX_DEVICE_ERROR;
  }
  if (device >= count) return SX_INVALID_ARGUMENT;
  Context* context = new (std::nothrow) Context();
  if (context == nullptr) return SX_OUT_OF_MEMORY;
  context->device = device;
  context->stream = reinterpret_cast<cudaStream_t>(stream);
  context->capability = capability_of(device);
  sx_status status = context->capability >= kOldest ? enter(*context) : SX_UNSUPPORTED;
  if (status == SX_OK) status = choose_build(*context);
  if (status == SX_OK) {
    const cudaError_t error =
        cudaDeviceGetAttribute(&context->multiprocessors, cudaDevAttrMultiProcessorCount, device);
    if (error != cudaSuccess) status = device_failure(*context, "create a context", error);
  }
  /* Room enough for usual calls, so that none has to grow it while a graph is being captured. */
  if (status == SX_OK && scratch(*context, "create a context", kFirstScratchBytes) == nullptr) {
    status = SX_OUT_OF_MEMORY;
  }
  if (status != SX_OK) {
    delete context;
    return status;
  }
  *out = reinterpret_cast<uint64_t>(context);
  return SX_OK;
}
