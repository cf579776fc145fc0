/*
 * What every file of the CUDA library shares: the context, errors, working memory and launches.
 *
 * Ops are asynchronous: they check, start kernels on the context's stream and return. Nothing here
 * synchronizes but sx_alloc, sx_free and a growth of the working memory.
 */
#ifndef SX_CUDA_COMMON_CUH
#define SX_CUDA_COMMON_CUH

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>
#include <stddef.h>
#include <stdint.h>

#include "../abi/ops.h"

/* The opaque type of the C interface. One op runs on a context at a time. */
struct sx_context : sx::ContextBase {
  int32_t device;
  int32_t capability; /* 90 for compute capability 9.0 */
  int32_t multiprocessors;
  bool hopper;          /* whether ops take their Hopper builds */
  bool lets_next_begin; /* whether the kernel started last does: see overlap.cuh */
  cudaStream_t stream;
  void* encode_tensor_map; /* cuTensorMapEncodeTiled of the driver; null without `hopper` */
  void* scratch;           /* grown by sx::cuda::scratch, kept between calls */
  int64_t scratch_bytes;
};

namespace sx {
namespace cuda {

using Context = ::sx_context;
using bf16 = __nv_bfloat16;

/* The working memory that a context starts with. */
constexpr int64_t kFirstScratchBytes = 16 << 20;

/* Device memory of the context that lasts until the next call of scratch(), 256-byte aligned; null
 * with the error text set if there is none left, or if it would have to grow while the stream is
 * being captured. Its content is undefined. One op may ask once. */
void* scratch(Context& context, const char* op, int64_t bytes);

/* Sets "Cannot <op> as the GPU reported <name> (<text>)"; returns the status that fits. */
sx_status device_failure(Context& context, const char* op, cudaError_t error);

/* What every launch is followed by: SX_OK, or the status of the failed launch. */
inline sx_status launched(Context& context, const char* op) {
  context.lets_next_begin = false;
  const cudaError_t error = cudaGetLastError();
  return error == cudaSuccess ? SX_OK : device_failure(context, op, error);
}

/* Raises a kernel's limit of shared memory; every launch of more than 48 KiB needs it. */
template <class Kernel>
sx_status allow_shared(Context& context, const char* op, Kernel kernel, int bytes) {
  const cudaError_t error =
      cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes);
  return error == cudaSuccess ? SX_OK : device_failure(context, op, error);
}

__host__ __device__ inline int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
__host__ __device__ inline int64_t round_up(int64_t a, int64_t b) { return ceil_div(a, b) * b; }
__host__ __device__ inline int64_t min64(int64_t a, int64_t b) { return a < b ? a : b; }
__host__ __device__ constexpr int64_t max64(int64_t a, int64_t b) { return a > b ? a : b; }

/* Blocks along x: kernels whose work may exceed it walk on in steps of the grid. */
constexpr int64_t kMaxGrid = 2147483647;
inline unsigned grid_of(int64_t blocks) { return static_cast<unsigned>(min64(blocks, kMaxGrid)); }

inline int64_t dtype_bytes(sx_dtype dtype) {
  return dtype == SX_F32 || dtype == SX_I32 ? 4 : dtype == SX_I8 || dtype == SX_F8E4M3 ? 1 : 2;
}

/* Whether addresses and byte strides allow accesses of 16 bytes. */
inline bool is_aligned(const void* pointer) {
  return (reinterpret_cast<uintptr_t>(pointer) & 15) == 0;
}

}  // namespace cuda
}  // namespace sx

#define SX_RETURN_IF_BAD(expression)        \
  do {                                      \
    const sx_status checked = (expression); \
    if (checked != SX_OK) return checked;   \
  } while (0)

#endif
