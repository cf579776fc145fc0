/*
 * The mean key and the mean value of every tile of 128 keys (see sx_tile_means in
 * ../sx_attention.h).
 *
 * A block of 256 threads averages the keys or the values of one tile of a head: a thread adds every
 * 16th row (every 32nd at head size 64) of eight columns, then the sums of each column are added up in
 * their order. Grid 2 * kv_heads * tiles; bytes 4*N*HK*D, which decide: each is read once.
 */
#include "element.cuh"
#include "ops.cuh"

namespace sx {
namespace cuda {

namespace {

constexpr int kThreads = 256;

struct MeansArgs {
  void* means[2]; /* of keys, of values */
  const bf16* own[2];
  const bf16* prefix[2];
  int64_t token_stride, head_stride, prefix_token_stride, prefix_head_stride;
  int64_t prefix_tokens, tokens; /* of both segments */
  int64_t first_tile, tile_count, mean_head_stride, kv_heads;
  bool aligned;
};

template <int kDim, class Mean>
__global__ void __launch_bounds__(kThreads)
    tile_means_kernel(const __grid_constant__ MeansArgs args) {
  constexpr int kChunks = kDim / 8, kGroups = kThreads / kChunks;
  static_assert(SX_TILE % kGroups == 0 && kDim <= kThreads, "whole rounds, a thread a column");
  __shared__ __align__(16) float parts[kGroups][kDim];
  const int chunk = threadIdx.x % kChunks, group = threadIdx.x / kChunks;
  const int64_t jobs = 2 * args.kv_heads * args.tile_count;
  for (int64_t job = blockIdx.x; job < jobs; job += gridDim.x) {
    const int which = static_cast<int>(job % 2);
    const int64_t tile = args.first_tile + job / 2 % args.tile_count;
    const int64_t head = job / 2 / args.tile_count;
    const int64_t first = tile * SX_TILE;
    const bool is_prefix = first < args.prefix_tokens;
    const int64_t stride = is_prefix ? args.prefix_token_stride : args.token_stride;
    const bf16* rows =
        is_prefix
            ? args.prefix[which] + head * args.prefix_head_stride + first * stride
            : args.own[which] + head * args.head_stride + (first - args.prefix_tokens) * stride;
    const int count = static_cast<int>(min64(SX_TILE, args.tokens - first));
    float sums[8] = {};
#pragma unroll
    for (int i = 0; i < SX_TILE / kGroups; i++) {
      const int row = i * kGroups + group;
      if (row >= count) continue;
      const uint4 packed = load_raw8(rows + row * stride + chunk * 8, args.aligned);
      const uint32_t words[4] = {packed.x, packed.y, packed.z, packed.w};
#pragma unroll
      for (int n = 0; n < 4; n++) {
        sums[2 * n] += low_half(words[n]);
        sums[2 * n + 1] += high_half(words[n]);
      }
    }
    __syncthreads(); /* all have read the sums of the tile before */
    store8(&parts[group][chunk * 8], sums);
    __syncthreads();
    if (threadIdx.x < kDim) {
      float sum = 0;
#pragma unroll
      for (int i = 0; i < kGroups; i++) sum += parts[i][threadIdx.x];
      Mean* mean = static_cast<Mean*>(args.means[which]);
      put(mean + head * args.mean_head_stride + tile * kDim + threadIdx.x,
          sum / static_cast<float>(count));
    }
  }
}

}  // namespace

sx_status tile_means(Context& context, const sx_tile_means_params& args) {
  if (args.tile_count == 0) return SX_OK;
  const sx_key_values& kv = args.kv;
  MeansArgs device = {};
  device.means[0] = args.mean_keys;
  device.means[1] = args.mean_values;
  device.own[0] = static_cast<const bf16*>(kv.keys);
  device.own[1] = static_cast<const bf16*>(kv.values);
  device.prefix[0] = static_cast<const bf16*>(kv.prefix_keys);
  device.prefix[1] = static_cast<const bf16*>(kv.prefix_values);
  device.token_stride = kv.token_stride;
  device.head_stride = kv.head_stride;
  device.prefix_token_stride = kv.prefix_token_stride;
  device.prefix_head_stride = kv.prefix_head_stride;
  device.prefix_tokens = kv.prefix_tokens;
  device.tokens = kv.prefix_tokens + kv.key_tokens;
  device.first_tile = args.first_tile;
  device.tile_count = args.tile_count;
  device.mean_head_stride = args.mean_head_stride;
  device.kv_heads = kv.kv_heads;
  device.aligned =
      is_aligned(kv.keys) && is_aligned(kv.values) && is_aligned(kv.prefix_keys) &&
      is_aligned(kv.prefix_values) &&
      (kv.token_stride | kv.head_stride | kv.prefix_token_stride | kv.prefix_head_stride) % 8 == 0;
  const bool is_wide = kv.head_dim == 128;
  const auto kernel =
      args.mean_dtype == SX_BF16
          ? (is_wide ? tile_means_kernel<128, bf16> : tile_means_kernel<64, bf16>)
          : (is_wide ? tile_means_kernel<128, float> : tile_means_kernel<64, float>);
  const unsigned grid = grid_of(2 * kv.kv_heads * args.tile_count);
  kernel<<<grid, kThreads, 0, context.stream>>>(device);
  return launched(context, "average tiles");
}

}  // namespace cuda
}  // namespace sx
