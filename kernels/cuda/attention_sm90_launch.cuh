/*
 * How Hopper's kernel of attention is launched (see attention_sm90.cuh): the copy engine's maps, and the
 * order of the blocks.
 */
#ifndef SX_CUDA_ATTENTION_SM90_LAUNCH_CUH
#define SX_CUDA_ATTENTION_SM90_LAUNCH_CUH

#include "attention_sm90.cuh"
#include "tensor_map.cuh"

namespace sx {
namespace cuda {

/* A block for each row of tiles of each head. */
template <int kDim, bool kSparse, bool kPaired, bool kWindowed>
sx_status launch_hopper_kernel(Context& context, const HopperParams& params, const char* op) {
  auto kernel = attention_hopper_kernel<kDim, kSparse, kPaired, kWindowed>;
  constexpr int kShared = HopperShared<kDim>::kBytes;
  SX_RETURN_IF_BAD(allow_shared(context, op, kernel, kShared));
  cudaLaunchConfig_t config = {};
  config.gridDim = dim3(static_cast<unsigned>(params.attention.q_tiles) * params.attention.q_heads);
  config.blockDim = dim3(kHopperThreads);
  config.dynamicSmemBytes = kShared;
  config.stream = context.stream;
  cudaLaunchAttribute pairs = {};
  pairs.id = cudaLaunchAttributeClusterDimension;
  pairs.val.clusterDim.x = kPaired ? 2 : 1;
  pairs.val.clusterDim.y = pairs.val.clusterDim.z = 1;
  config.attrs = &pairs;
  config.numAttrs = 1;
  const cudaError_t error = cudaLaunchKernelEx(&config, kernel, params);
  return error == cudaSuccess ? launched(context, op) : device_failure(context, op, error);
}

/* The heads whose keys and values fit in most of the L2 cache together: whole groups that divide all
 * heads, at least one. */
inline int section_of(const AttentionParams& params, int64_t kv_heads, int64_t head_dim) {
  constexpr int64_t kCacheBytes = 32 << 20; /* of an H100's 50 MB */
  const int64_t bytes = (params.prefix.tokens + params.own.tokens) * head_dim * 4;
  int64_t together = max64(1, min64(kv_heads, kCacheBytes / max64(1, bytes)));
  while (kv_heads % together != 0) together--;
  return static_cast<int>(together) * params.group;
}

template <int kDim, bool kSparse>
sx_status launch_hopper(Context& context, const AttentionParams& attention, int64_t kv_heads,
                        const char* op) {
  HopperParams params = {};
  params.attention = attention;
  params.section = section_of(attention, kv_heads, kDim);
  /* Keys that no query sees are not read: they may be the cache's unwritten rows. */
  const int64_t visible = attention.q_offset + attention.q_tokens;
  const Segment& own = attention.own;
  const Segment& prefix = attention.prefix;
  const int64_t own_tokens = min64(own.tokens, visible - prefix.tokens);
  const int64_t prefix_tokens = min64(prefix.tokens, visible);
  const TensorView views[] = {
      {attention.q, attention.q_tokens, attention.q_heads, attention.q_heads * kDim, kDim},
      {own.keys, own_tokens, kv_heads, own.token_stride, own.head_stride},
      {own.values, own_tokens, kv_heads, own.token_stride, own.head_stride},
      {prefix.keys, prefix_tokens, kv_heads, prefix.token_stride, prefix.head_stride},
      {prefix.values, prefix_tokens, kv_heads, prefix.token_stride, prefix.head_stride}};
  CUtensorMap* maps[] = {&params.queries, &params.keys[0], &params.values[0], &params.keys[1],
                         &params.values[1]};
  for (int i = 0; i < 5; i++) {
    /* No key of a segment is seen: a list may name its blocks all the same, and what is fetched for
     * them is masked. */
    if (views[i].tokens <= 0) {
      *maps[i] = params.queries;
    } else {
      SX_RETURN_IF_BAD(encode_map(context, op, maps[i], views[i], kDim));
    }
  }
  /* Two heads of a key head walk over the same tiles, unless each has a list of its own. */
  constexpr bool kCanPair = kDim == 128 && !kSparse;
  const bool windowed = attention.windowed;
  if (kCanPair && attention.group % 2 == 0) {
    return windowed ? launch_hopper_kernel<kDim, kSparse, kCanPair, true>(context, params, op)
                    : launch_hopper_kernel<kDim, kSparse, kCanPair, false>(context, params, op);
  }
  return windowed ? launch_hopper_kernel<kDim, kSparse, false, true>(context, params, op)
                  : launch_hopper_kernel<kDim, kSparse, false, false>(context, params, op);
}

}  // namespace cuda
}  // namespace sx

#endif
