/*
 * How the exported functions check their arguments and word their refusals.
 *
 * Each backend has a `backend.h` in its folder, which is what these files are compiled with. It
 * gives, in namespace sx:
 *   Context                      the opaque sx_context, a ContextBase with more behind it
 *   sx_status enter(Context&)    makes the context's device the calling thread's
 *   kDevice                      "a CPU", for messages
 *   kQueryDtype                  the one dtype of queries that its attention takes
 *   kMeanRule                    that its means of tiles are of the queries' dtype
 *   kHasInt8Products             whether it multiplies with weights of 8 bits
 *   takes_with_f8(dtype)         whether it multiplies x of a dtype with F8E4M3 weights; kF8Rule says which
 *   takes_cache(dtype)           whether its attention takes keys and values of a dtype of floats
 *   kHasCache8                   whether it has keys and values of 8 bits
 *   kSeesMemory                  whether ids, rows and counts may be looked at: device memory is
 *                                host memory, and what was started before has ended
 *   SX_CALL(context, op, params) calls an op
 *   take_memory, return_memory, copy_memory, close_context (see memory.cpp and library.cpp)
 */
#ifndef SX_ABI_CHECKS_H
#define SX_ABI_CHECKS_H

#include "backend.h"

namespace sx {

/* One call that is being checked: its context and what it does, for the texts. */
struct Call {
  Context& context;
  const char* action;
};

/* "Cannot <action> as <rule>: current value is <value>"; returns SX_INVALID_ARGUMENT. */
sx_status fail(const Call& call, const char* rule, long long value);

/* As fail(), for what is legal but has no code here: SX_UNSUPPORTED. */
sx_status lacks(const Call& call, const char* rule, long long value);

inline bool is_float(sx_dtype dtype) { return dtype == SX_F32 || dtype == SX_BF16; }
inline bool is_convertible(sx_dtype dtype) { return is_float(dtype) || dtype == SX_F16; }

/* Sizes below 2^40 keep every product of a size, a stride and an element within 63 bits. */
constexpr int64_t kMaxSize = 1ll << 40;
/* The longest head; attention itself takes 64 and 128. */
constexpr int64_t kMaxHeadDim = 256;
inline bool is_size(int64_t value) { return value >= 0 && value <= kMaxSize; }

}  // namespace sx

#define SX_PASS(expression)                \
  do {                                     \
    const sx_status passed = (expression); \
    if (passed != SX_OK) return passed;    \
  } while (0)

/* How an op's entry point begins: `call` and the parameters `p` are there from here on. */
#define SX_BEGIN(context, params, action)                                       \
  if ((context) == nullptr) return SX_INVALID_ARGUMENT;                         \
  SX_PASS(sx::enter(*(context)));                                               \
  const sx::Call call = {*(context), action};                                   \
  if ((params) == nullptr) return sx::fail(call, "params must not be null", 0); \
  const auto& p = *(params)

#define SX_CHECK(call, condition, rule, value) \
  if (!(condition)) return sx::fail(call, rule, static_cast<long long>(value))

/* A field that must not be null. */
#define SX_CHECK_POINTER(call, p, field) \
  SX_CHECK(call, (p).field != nullptr, #field " must not be null", 0)

/* A size may be 0 and no more than 2^40. */
#define SX_CHECK_SIZE(call, p, field) \
  SX_CHECK(call, sx::is_size((p).field), #field " must be 0 to 2^40", (p).field)

#define SX_CHECK_FLOAT(call, p, field) \
  SX_CHECK(call, sx::is_float((p).field), #field " must be F32 or BF16", (p).field)

#define SX_CHECK_FLAG(call, p, field) \
  SX_CHECK(call, (p).field == 0 || (p).field == 1, #field " must be 0 or 1", (p).field)

#define SX_CHECK_FINITE(call, p, field) \
  SX_CHECK(call, (p).field - (p).field == 0, #field " must be finite (shown as 0)", 0)

#endif
