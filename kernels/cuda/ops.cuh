/*
 * The functions that start the ops.
 */
#ifndef SX_CUDA_OPS_CUH
#define SX_CUDA_OPS_CUH

#include "common.cuh"

namespace sx {
namespace cuda {

#define SX_DECLARE(name) sx_status name(Context& context, const sx_##name##_params& args);
SX_FOR_EACH_OP(SX_DECLARE)
#undef SX_DECLARE

}  // namespace cuda
}  // namespace sx

#endif
