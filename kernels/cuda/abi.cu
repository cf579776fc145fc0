/*
 * The exported functions of library, context and dense layers: they check every argument that the
 * host can check and start the op. What lies in device memory (ids, rows, counts) is not read here.
 */
#include "abi.cuh"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <new>

using namespace sx;
using namespace sx::cuda;

namespace sx {
namespace cuda {

sx_status fail(Context& context, const char* action, const char* rule, long long value) {
  snprintf(context.error, sizeof context.error, "Cannot %s as %s: current value is %lld", action,
           rule, value);
  return SX_INVALID_ARGUMENT;
}

sx_status device_failure(Context& context, const char* op, cudaError_t error) {
  snprintf(context.error, sizeof context.error, "Cannot %s as the GPU reported %s (%s)", op,
           cudaGetErrorName(error), cudaGetErrorString(error));
  if (error == cudaErrorMemoryAllocation) return SX_OUT_OF_MEMORY;
  const bool no_code = error == cudaErrorNoKernelImageForDevice ||
                       error == cudaErrorInvalidKernelImage || error == cudaErrorUnsupportedPtxVersion;
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
  const cudaError_t error = cudaGetDriverEntryPointByVersion(
      "cuTensorMapEncodeTiled", &function, 12000, cudaEnableDefault, &found);
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
}  // namespace cuda
}  // namespace sx

uint32_t sx_abi_version(void) { return SX_ABI_VERSION; }

sx_status sx_describe(char* out, uint64_t size) {
  if (out == nullptr) return SX_INVALID_ARGUMENT;
  const int32_t capability = capability_of(0);
  const bool hopper = capability == kHopper && kHopperByDefault;
  const char* best = hopper ? "hopper" : capability >= kOldest ? "generic" : "";
  char text[256];
  const int length = snprintf(
      text, sizeof text,
      "{\"backend\":\"cuda\",\"isa\":[\"generic\",\"hopper\"],\"best\":\"%s\",\"scalar\":false}", best);
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
    const cudaError_t error = cudaDeviceGetAttribute(&context->multiprocessors,
                                                     cudaDevAttrMultiProcessorCount, device);
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

sx_status sx_context_destroy(sx_context* context) {
  SX_CHECK_CONTEXT(context);
  const cudaError_t error = cudaStreamSynchronize(context->stream);
  free_all(*context);
  delete context;
  return error == cudaSuccess ? SX_OK : SX_DEVICE_ERROR;
}

sx_status sx_error_text(sx_context* context, char* out, uint64_t size) {
  if (context == nullptr || out == nullptr || size == 0) return SX_INVALID_ARGUMENT;
  snprintf(out, size, "%s", context->error);
  return SX_OK;
}

sx_status sx_convert(sx_context* context, void* out, const void* in, sx_dtype out_dtype,
                     sx_dtype in_dtype, int64_t count) {
  SX_CHECK_CONTEXT(context);
  SX_CHECK_POINTER(context, "convert", out);
  SX_CHECK_POINTER(context, "convert", in);
  SX_CHECK_SIZE(context, "convert", count);
  SX_CHECK(context, is_convertible(out_dtype), "convert", "out_dtype must be F32, BF16 or F16",
           out_dtype);
  SX_CHECK(context, is_convertible(in_dtype), "convert", "in_dtype must be F32, BF16 or F16",
           in_dtype);
  return cuda::convert(*context, {out, in, out_dtype, in_dtype, count});
}

sx_status sx_embedding(sx_context* context, float* out, const void* table, const int32_t* ids,
                       sx_dtype table_dtype, int64_t tokens, int64_t dim, int64_t vocab) {
  SX_CHECK_CONTEXT(context);
  const char* action = "look up embeddings";
  SX_CHECK_POINTER(context, action, out);
  SX_CHECK_POINTER(context, action, table);
  SX_CHECK_POINTER(context, action, ids);
  SX_CHECK_SIZE(context, action, tokens);
  SX_CHECK_SIZE(context, action, dim);
  SX_CHECK_SIZE(context, action, vocab);
  SX_CHECK(context, is_float(table_dtype), action, "table_dtype must be F32 or BF16", table_dtype);
  return cuda::embedding(*context, {out, table, ids, table_dtype, tokens, dim, vocab});
}

sx_status sx_rms_norm(sx_context* context, void* out, float* residual, const float* delta,
                      const void* weight, sx_dtype out_dtype, sx_dtype weight_dtype, int64_t rows,
                      int64_t dim, float eps) {
  SX_CHECK_CONTEXT(context);
  const char* action = "normalize";
  SX_CHECK_POINTER(context, action, out);
  SX_CHECK_POINTER(context, action, residual);
  SX_CHECK_POINTER(context, action, weight);
  SX_CHECK(context, is_float(out_dtype), action, "out_dtype must be F32 or BF16", out_dtype);
  SX_CHECK(context, is_float(weight_dtype), action, "weight_dtype must be F32 or BF16",
           weight_dtype);
  SX_CHECK_SIZE(context, action, rows);
  SX_CHECK(context, dim >= 1 && dim <= kMaxSize, action, "dim must be 1 to 2^40", dim);
  SX_CHECK(context, eps >= 0, action, "eps must be at least 0 (shown without its fraction)", eps);
  return cuda::rms_norm(
      *context, {out, residual, delta, weight, out_dtype, weight_dtype, rows, dim, eps});
}

sx_status sx_matmul(sx_context* context, float* out, const void* x, const void* weight,
                    sx_dtype x_dtype, sx_dtype weight_dtype, int32_t accumulate, int64_t m,
                    int64_t n, int64_t k, int64_t x_stride, int64_t out_stride) {
  SX_CHECK_CONTEXT(context);
  const char* action = "multiply";
  SX_CHECK_POINTER(context, action, out);
  SX_CHECK_POINTER(context, action, x);
  SX_CHECK_POINTER(context, action, weight);
  SX_CHECK(context, is_float(x_dtype), action, "x_dtype must be F32 or BF16", x_dtype);
  SX_CHECK(context, is_float(weight_dtype), action, "weight_dtype must be F32 or BF16",
           weight_dtype);
  if (x_dtype == SX_BF16 && weight_dtype != SX_BF16) {
    fail(*context, action, "weight_dtype must be BF16 if x_dtype is", weight_dtype);
    return SX_UNSUPPORTED;
  }
  SX_CHECK(context, accumulate == 0 || accumulate == 1, action, "accumulate must be 0 or 1",
           accumulate);
  SX_CHECK_SIZE(context, action, m);
  SX_CHECK_SIZE(context, action, n);
  SX_CHECK(context, k >= 1 && k <= kMaxSize, action, "k must be 1 to 2^40", k);
  SX_CHECK(context, x_stride >= k && is_size(x_stride), action, "x_stride must be at least k",
           x_stride);
  SX_CHECK(context, out_stride >= n && is_size(out_stride), action,
           "out_stride must be at least n", out_stride);
  return cuda::matmul(*context, {out, x, weight, x_dtype, weight_dtype, accumulate == 1, m,
                                         n, k, x_stride, out_stride});
}

sx_status sx_rope_table(sx_context* context, float* table, const float* inverse_frequency,
                        const int32_t* positions, int64_t tokens, int64_t head_dim) {
  SX_CHECK_CONTEXT(context);
  const char* action = "make rotations";
  SX_CHECK_POINTER(context, action, table);
  SX_CHECK_POINTER(context, action, inverse_frequency);
  SX_CHECK_POINTER(context, action, positions);
  SX_CHECK_SIZE(context, action, tokens);
  SX_CHECK(context, head_dim == 64 || head_dim == 128, action, "head_dim must be 64 or 128",
           head_dim);
  return cuda::rope_table(*context,
                                  {table, inverse_frequency, positions, tokens, head_dim});
}

sx_status sx_rope(sx_context* context, void* q_out, void* keys, void* values, const float* qkv,
                  const float* table, const int32_t* rows, sx_dtype q_dtype, sx_dtype cache_dtype,
                  int64_t tokens, int64_t q_heads, int64_t kv_heads, int64_t head_dim,
                  int64_t token_stride, int64_t head_stride) {
  SX_CHECK_CONTEXT(context);
  const char* action = "rotate";
  SX_CHECK_POINTER(context, action, q_out);
  SX_CHECK_POINTER(context, action, qkv);
  SX_CHECK_POINTER(context, action, table);
  SX_CHECK_POINTER(context, action, rows);
  SX_CHECK(context, is_float(q_dtype), action, "q_dtype must be F32 or BF16", q_dtype);
  SX_CHECK(context, is_float(cache_dtype), action, "cache_dtype must be F32 or BF16", cache_dtype);
  SX_CHECK_SIZE(context, action, tokens);
  SX_CHECK(context, q_heads >= 1 && q_heads <= 4096, action, "q_heads must be 1 to 4096", q_heads);
  SX_CHECK(context, kv_heads >= 1 && kv_heads <= 4096, action, "kv_heads must be 1 to 4096",
           kv_heads);
  SX_CHECK(context, head_dim == 64 || head_dim == 128, action, "head_dim must be 64 or 128",
           head_dim);
  SX_CHECK_SIZE(context, action, token_stride);
  SX_CHECK_SIZE(context, action, head_stride);
  return cuda::rope(*context, {q_out, keys, values, qkv, table, rows, q_dtype, cache_dtype,
                                       tokens, q_heads, kv_heads, head_dim, token_stride,
                                       head_stride});
}

sx_status sx_swiglu(sx_context* context, void* out, const float* gate_up, sx_dtype out_dtype,
                    int64_t rows, int64_t dim) {
  SX_CHECK_CONTEXT(context);
  SX_CHECK_POINTER(context, "activate", out);
  SX_CHECK_POINTER(context, "activate", gate_up);
  SX_CHECK(context, is_float(out_dtype), "activate", "out_dtype must be F32 or BF16", out_dtype);
  SX_CHECK_SIZE(context, "activate", rows);
  SX_CHECK_SIZE(context, "activate", dim);
  return cuda::swiglu(*context, {out, gate_up, out_dtype, rows, dim});
}

sx_status sx_argmax(sx_context* context, int32_t* out, const float* logits, int64_t rows,
                    int64_t count) {
  SX_CHECK_CONTEXT(context);
  SX_CHECK_POINTER(context, "choose", out);
  SX_CHECK_POINTER(context, "choose", logits);
  SX_CHECK_SIZE(context, "choose", rows);
  SX_CHECK(context, count >= 1 && count <= INT32_MAX, "choose", "count must be 1 to 2^31 - 1",
           count);
  return cuda::argmax(*context, {out, logits, rows, count});
}

sx_status sx_top_k(sx_context* context, int32_t* out_ids, float* out_values, const float* logits,
                   int64_t count, int64_t k) {
  SX_CHECK_CONTEXT(context);
  SX_CHECK_POINTER(context, "rank", out_ids);
  SX_CHECK_POINTER(context, "rank", out_values);
  SX_CHECK_POINTER(context, "rank", logits);
  SX_CHECK(context, count >= 1 && count <= INT32_MAX, "rank", "count must be 1 to 2^31 - 1",
           count);
  SX_CHECK(context, k >= 1 && k <= count, "rank", "k must be 1 to count", k);
  return cuda::top_k(*context, {out_ids, out_values, logits, count, k});
}
