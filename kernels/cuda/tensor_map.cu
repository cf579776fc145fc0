/*
 * Describes tensors to Hopper's copy engine, by the driver's function: the runtime has none.
 */
#include "tensor_map.cuh"

#include <cudaTypedefs.h>
#include <stdio.h>

namespace sx {
namespace cuda {

namespace {

constexpr cuuint32_t kColumns = 64; /* of a box */

/* A tensor as the driver wants it: what a thing of each dimension is apart, but for the first. */
struct Layout {
  uint32_t rank;
  cuuint64_t sizes[4], strides[3];
  cuuint32_t box[4];
};

sx_status encode(Context& context, const char* op, CUtensorMap* map, const TensorView& view,
                 const Layout& layout) {
  const auto function =
      reinterpret_cast<PFN_cuTensorMapEncodeTiled_v12000>(context.encode_tensor_map);
  const cuuint32_t steps[4] = {1, 1, 1, 1};
  const CUresult result =
      function(map, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, layout.rank, const_cast<bf16*>(view.base),
               layout.sizes, layout.strides, layout.box, steps, CU_TENSOR_MAP_INTERLEAVE_NONE,
               CU_TENSOR_MAP_SWIZZLE_128B,
               layout.sizes[0] == 128 ? CU_TENSOR_MAP_L2_PROMOTION_L2_256B
                                      : CU_TENSOR_MAP_L2_PROMOTION_L2_128B,
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

/* Bytes between two things of a dimension. One of a single thing has no distance; the driver wants one
 * all the same. */
cuuint64_t distance(int64_t count, int64_t elements, int64_t head_dim) {
  return static_cast<cuuint64_t>(count > 1 ? elements : head_dim) * 2;
}

cuuint64_t size_of(int64_t count) { return static_cast<cuuint64_t>(count); }

}  // namespace

sx_status encode_map(Context& context, const char* op, CUtensorMap* map, const TensorView& view,
                     int64_t head_dim) {
  const Layout layout = {3,
                         {size_of(head_dim), size_of(view.tokens), size_of(view.heads)},
                         {distance(view.tokens, view.token_stride, head_dim),
                          distance(view.heads, view.head_stride, head_dim)},
                         {kColumns, SX_TILE, 1}};
  return encode(context, op, map, view, layout);
}

sx_status encode_groups(Context& context, const char* op, CUtensorMap (&maps)[2], int& partial,
                        const GroupView& view, int64_t head_dim) {
  const TensorView& tokens = view.tokens;
  const int64_t whole = tokens.tokens / view.stride;
  partial = static_cast<int>(tokens.tokens % view.stride);
  const auto encode_one = [&](CUtensorMap* map, int64_t groups, int64_t in_group) {
    const Layout layout = {
        4,
        {size_of(head_dim), size_of(in_group), size_of(groups), size_of(tokens.heads)},
        {distance(in_group, tokens.token_stride, head_dim),
         distance(groups, tokens.token_stride * view.stride, head_dim),
         distance(tokens.heads, tokens.head_stride, head_dim)},
        {kColumns, 1, static_cast<cuuint32_t>(view.box_groups), 1}};
    return encode(context, op, map, tokens, layout);
  };
  if (partial > 0) SX_RETURN_IF_BAD(encode_one(&maps[0], whole + 1, partial));
  if (whole > 0) SX_RETURN_IF_BAD(encode_one(&maps[1], whole, view.stride));
  /* Without a whole group its other tokens lie outside of either map. */
  if (partial == 0) maps[0] = maps[1];
  if (whole == 0) maps[1] = maps[0];
  return SX_OK;
}

}  // namespace cuda
}  // namespace sx
