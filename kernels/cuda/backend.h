/*
 * What CUDA adds to the exported functions of ../abi (see ../abi/checks.h).
 */
#ifndef SX_CUDA_BACKEND_H
#define SX_CUDA_BACKEND_H

#include "ops.cuh"

namespace sx {
namespace cuda {

/* Makes the context's device the calling thread's, whatever thread that is. */
sx_status enter(Context& context);
/* Zero-filled device memory; out [1]. */
sx_status take_memory(Context& context, uint64_t bytes, void** out);
sx_status return_memory(Context& context, void* memory);
sx_status copy_memory(Context& context, const sx_copy_params& params);
void free_scratch(Context& context);
/* Waits for the stream and gives the working memory back. */
sx_status close_context(Context& context);

}  // namespace cuda

using cuda::close_context;
using cuda::Context;
using cuda::copy_memory;
using cuda::enter;
using cuda::return_memory;
using cuda::take_memory;

/* The tensor cores take bf16 queries, and keys and values as they lie in the cache. */
constexpr sx_dtype kQueryDtype = SX_BF16;
constexpr const char* kQueryRule = "q_dtype must be BF16 on a GPU";
constexpr const char* kMeanRule = "mean_dtype must be BF16 on a GPU";
constexpr const char* kCacheRule = "kv_dtype must be BF16 on a GPU";
inline bool takes_cache(sx_dtype dtype) { return dtype == SX_BF16; }
constexpr bool kHasCache8 = true;

/* Products with weights of 8 bits are a CPU's alone so far. */
constexpr bool kHasInt8Products = false;
/* Two factors of 8 bits are cuBLASLt's. */
inline bool takes_with_f8(sx_dtype dtype) { return dtype == SX_BF16; }
constexpr const char* kF8Rule = "x_dtype must be BF16 if weight_dtype is F8E4M3 on a GPU";

/* What lies in device memory (ids, rows, counts) is not there for the host to see. */
constexpr bool kSeesMemory = false;

}  // namespace sx

#define SX_CALL(context, op, params) sx::cuda::op(context, params)

#endif
