/*
 * Keys of tiles in two bits a number (see sx_key_codes in ../sx_attention.h).
 *
 * A block encodes one tile of a head: a thread adds up |k - m| of one column, key after key as a CPU
 * does, so that codes are the same bits, then compares each key with the column's edges; 16 lanes put
 * their codes together into a word. Grid kv_heads * tiles of D threads; bytes 2*D a key, read twice, the
 * second time from the L2 cache; written D/4.
 */
#include "element.cuh"
#include "ops.cuh"

namespace sx {
namespace cuda {

namespace {

using Params = sx_key_codes_params;

template <int kDim, class Mean>
__global__ void __launch_bounds__(kDim) key_codes_kernel(const __grid_constant__ Params args) {
  static_assert(kDim % 32 == 0, "whole warps, whose lanes share words");
  const int column = threadIdx.x;
  const int64_t jobs = args.kv_heads * args.tile_count;
  for (int64_t job = blockIdx.x; job < jobs; job += gridDim.x) {
    const int64_t head = job / args.tile_count, tile = args.first_tile + job % args.tile_count;
    const int64_t at = head * args.mean_head_stride + tile * kDim + column;
    const bf16* key = static_cast<const bf16*>(args.keys) + head * args.head_stride +
                      tile * SX_TILE * args.token_stride + column;
    const float mean = widen(static_cast<const Mean*>(args.mean_keys)[at]);
    float sum = 0;
#pragma unroll 8
    for (int j = 0; j < SX_TILE; j++) sum += fabsf(widen(key[j * args.token_stride]) - mean);
    Mean* spread = static_cast<Mean*>(args.spread) + at;
    put(spread, sum / SX_TILE);
    const float edge = SX_CODE_EDGE * widen(*spread);
    int32_t* words = args.codes + head * args.code_head_stride + tile * SX_TILE * (kDim / 16);
#pragma unroll 4
    for (int j = 0; j < SX_TILE; j++) {
      const float distance = widen(key[j * args.token_stride]) - mean;
      const uint32_t code = distance < -edge ? 0 : distance < 0 ? 1 : distance < edge ? 2 : 3;
      uint32_t word = code << (2 * (column % 16));
#pragma unroll
      for (int step = 1; step < 16; step *= 2) word |= __shfl_xor_sync(~0u, word, step);
      if (column % 16 == 0) words[j * (kDim / 16) + column / 16] = static_cast<int32_t>(word);
    }
  }
}

}  // namespace

sx_status key_codes(Context& context, const Params& args) {
  if (args.tile_count == 0) return SX_OK;
  const bool is_wide = args.head_dim == 128;
  const auto kernel = args.mean_dtype == SX_BF16
                          ? (is_wide ? key_codes_kernel<128, bf16> : key_codes_kernel<64, bf16>)
                          : (is_wide ? key_codes_kernel<128, float> : key_codes_kernel<64, float>);
  const unsigned grid = grid_of(args.kv_heads * args.tile_count);
  kernel<<<grid, static_cast<unsigned>(args.head_dim), 0, context.stream>>>(args);
  return launched(context, "encode keys");
}

}  // namespace cuda
}  // namespace sx
