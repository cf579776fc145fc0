/*
 * What the CPU adds to the exported functions of ../abi (see ../abi/checks.h).
 */
#ifndef SX_CPU_BACKEND_H
#define SX_CPU_BACKEND_H

#include "ops.h"

namespace sx {

constexpr sx_dtype kQueryDtype = SX_F32;
constexpr const char* kQueryRule = "q_dtype must be F32 on a CPU";
constexpr const char* kMeanRule = "mean_dtype must be F32 on a CPU";
constexpr const char* kCacheRule = "kv_dtype must be F32 or BF16 on a CPU";
inline bool takes_cache(sx_dtype dtype) { return dtype == SX_F32 || dtype == SX_BF16; }
constexpr bool kHasCache8 = true;

constexpr bool kHasInt8Products = true;
inline bool takes_with_f8(sx_dtype) { return true; }
constexpr const char* kF8Rule = "";

/* Device memory is host memory, and an op has ended when its function returns. */
constexpr bool kSeesMemory = true;

inline sx_status enter(Context&) { return SX_OK; }

/* Zero-filled memory, 64-byte aligned; out [1]. */
sx_status take_memory(Context& context, uint64_t bytes, void** out);
sx_status return_memory(Context& context, void* memory);
sx_status copy_memory(Context& context, const sx_copy_params& params);
void free_scratch(Context& context);
/* Ends the threads and gives the working memory back. */
sx_status close_context(Context& context);

}  // namespace sx

#define SX_CALL(context, op, params) (context).ops->op(context, params)

#endif
