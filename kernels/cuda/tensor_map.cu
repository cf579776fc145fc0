/*
 * Describes tensors to Hopper's copy engine, by the driver's function: the runtime has none.
 */
#include "tensor_map.cuh"

#include <cudaTypedefs.h>
#include <stdio.h>

namespace sx {
namespace cuda {

sx_status encode_map(Context& context, const char* op, CUtensorMap* map, const TensorView& view,
                     int64_t head_dim) {
  constexpr cuuint32_t kColumns = 64, kRows = SX_BLOCK; /* of a box */
  const auto encode =
      reinterpret_cast<PFN_cuTensorMapEncodeTiled_v12000>(context.encode_tensor_map);
  /* A dimension of one element has no distance; the driver wants one all the same. */
  const cuuint64_t row_bytes = static_cast<cuuint64_t>(head_dim) * 2;
  const cuuint64_t sizes[3] = {static_cast<cuuint64_t>(head_dim),
                               static_cast<cuuint64_t>(view.tokens),
                               static_cast<cuuint64_t>(view.heads)};
  const cuuint64_t strides[2] = {
      view.tokens > 1 ? static_cast<cuuint64_t>(view.token_stride) * 2 : row_bytes,
      view.heads > 1 ? static_cast<cuuint64_t>(view.head_stride) * 2 : row_bytes};
  const cuuint32_t box[3] = {kColumns, kRows, 1};
  const cuuint32_t steps[3] = {1, 1, 1};
  const CUresult result = encode(
      map, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, 3, const_cast<bf16*>(view.base), sizes, strides, box,
      steps, CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
      head_dim == 128 ? CU_TENSOR_MAP_L2_PROMOTION_L2_256B : CU_TENSOR_MAP_L2_PROMOTION_L2_128B,
      CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  if (result == CUDA_SUCCESS) return SX_OK;
  snprintf(context.error, sizeof context.error,
           "Cannot %s as the driver refused to describe a tensor to the copy engine: error %d of "
           "%lld tokens at a distance of %lld, %lld heads at %lld",
           op, static_cast<int>(result), static_cast<long long>(view.tokens),
           static_cast<long long>(view.token_stride), static_cast<long long>(view.heads),
           static_cast<long long>(view.head_stride));
  return SX_DEVICE_ERROR;
}

}  // namespace cuda
}  // namespace sx
