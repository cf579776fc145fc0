/*
 * Tensors as Hopper's copy engine sees them: rows of tokens of some heads, fetched in boxes.
 */
#ifndef SX_CUDA_TENSOR_MAP_CUH
#define SX_CUDA_TENSOR_MAP_CUH

#include <cuda.h>

#include "common.cuh"

namespace sx {
namespace cuda {

/* Element d of a token of a head lies at base[head * head_stride + token * token_stride + d]. */
struct TensorView {
  const bf16* base;
  int64_t tokens, heads, token_stride, head_stride;
};

/* Describes boxes of 64 elements of 128 tokens of one head, permuted over 128 bytes; dimensions:
 * element, token, head. What lies behind the last token reads as 0. */
sx_status encode_map(Context& context, const char* op, CUtensorMap* map, const TensorView& view,
                     int64_t head_dim);

}  // namespace cuda
}  // namespace sx

#endif
