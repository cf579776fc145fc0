/*
 * How the exported functions check their arguments and word their refusals.
 */
#ifndef SX_CUDA_ABI_CUH
#define SX_CUDA_ABI_CUH

#include "ops.cuh"

namespace sx {
namespace cuda {

/* "Cannot <action> as <rule>: current value is <value>"; returns SX_INVALID_ARGUMENT. */
sx_status fail(Context& context, const char* action, const char* rule, long long value);

/* Makes the context's device the calling thread's. */
sx_status enter(Context& context);

void free_scratch(Context& context);
/* Frees everything that sx_alloc handed out, and the scratch memory. */
void free_all(Context& context);

inline bool is_float(sx_dtype dtype) { return dtype == SX_F32 || dtype == SX_BF16; }
inline bool is_convertible(sx_dtype dtype) { return is_float(dtype) || dtype == SX_F16; }

/* Sizes below 2^40 keep every product of a size, a stride and an element within 63 bits. */
constexpr int64_t kMaxSize = 1ll << 40;
inline bool is_size(int64_t value) { return value >= 0 && value <= kMaxSize; }

}  // namespace cuda
}  // namespace sx

/* The calling thread's device becomes the context's, whatever thread that is. */
#define SX_CHECK_CONTEXT(context)                        \
  if ((context) == nullptr) return SX_INVALID_ARGUMENT; \
  SX_RETURN_IF_BAD(sx::cuda::enter(*(context)))

#define SX_CHECK(context, condition, action, rule, value) \
  if (!(condition)) return sx::cuda::fail(*(context), action, rule, static_cast<long long>(value))

/* A size may be 0 and no more than 2^40. */
#define SX_CHECK_SIZE(context, action, size) \
  SX_CHECK(context, sx::cuda::is_size(size), action, #size " must be 0 to 2^40", size)

#define SX_CHECK_POINTER(context, action, pointer) \
  SX_CHECK(context, (pointer) != nullptr, action, #pointer " must not be null", 0)

#endif
