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

/* Groups of consecutive tokens, and how many of them a box has. */
struct GroupView {
  TensorView tokens;
  int64_t stride; /* tokens of a group */
  int box_groups;
};

/* Describes boxes of 64 elements of the same token of `box_groups` groups of one head, permuted over
 * 128 bytes; dimensions: element, token of a group, group, head. What lies behind the last group
 * reads as 0. The last one may lack its last tokens: then maps[0] has the groups' other tokens,
 * those that the last group has too, and maps[1], without the last group, has all tokens. Otherwise
 * both have all. Returns how many tokens of a group maps[0] is for in `partial`. */
sx_status encode_groups(Context& context, const char* op, CUtensorMap (&maps)[2], int& partial,
                        const GroupView& view, int64_t head_dim);

}  // namespace cuda
}  // namespace sx

#endif
