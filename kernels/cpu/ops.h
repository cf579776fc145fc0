/*
 * The table of functions that an instruction set provides, one for each op.
 */
#ifndef SX_CPU_OPS_H
#define SX_CPU_OPS_H

#include "common.h"

namespace sx {

struct OpTable {
#define SX_FIELD(name) sx_status (*name)(Context&, const sx_##name##_params&);
  SX_FOR_EACH_OP(SX_FIELD)
#undef SX_FIELD
};

#define SX_DECLARE(name) sx_status name(Context& context, const sx_##name##_params& args);
#define SX_DECLARE_OPS(isa_namespace) \
  namespace isa_namespace {           \
  SX_FOR_EACH_OP(SX_DECLARE)          \
  extern const OpTable ops;           \
  }
SX_DECLARE_OPS(scalar)
SX_DECLARE_OPS(avx2)
SX_DECLARE_OPS(avx512)
SX_DECLARE_OPS(avx512_bf16)
SX_DECLARE_OPS(amx_bf16)
#undef SX_DECLARE_OPS
#undef SX_DECLARE

}  // namespace sx

#endif
