/*
 * The exact attention mass of every tile of 128 x 128 (see sx_tile_mass in ../sx_attention.h).
 *
 * mass[h,b,c] = sum over visible pairs of 2^(log2(e) * scale * q . k - lse_log2[t,h]). The log-sum-exp
 * is known, so that a tile is a product and a sum. FLOPs 2*D*HQ per visible pair, rounded up to whole
 * tiles; bytes N*D*2 for a row tile of a head, mostly from L2.
 *
 * A block of 128 threads a row tile of a head; it walks over the tiles of keys, a warp 64 x 64 of a
 * tile with 128 sums a lane. Queries and keys come in slices of 64 elements, one stage of 32 KiB: this
 * op is for looking at a model, not for running it, and waits for its copies.
 */
#include "antidiagonal_tile.cuh"

namespace sx {
namespace cuda {

using antidiagonal::kMatrixBytes;
using antidiagonal::kSlice;
using antidiagonal::kStageBytes;
using antidiagonal::kThreads;
using antidiagonal::kWarpTile;

namespace {

static_assert(antidiagonal::kTile == SX_TILE && kThreads == SX_TILE,
              "a thread a row, a tile a tile");

/* Rows that lie between two rows that a thread copies. */
constexpr int kCopyRows = kThreads / (kSlice / 8);

struct MassArgs {
  float* mass;
  const bf16* q;
  const float* lse_log2;
  const bf16* keys;
  const bf16* prefix_keys;
  int64_t token_stride, head_stride, prefix_token_stride, prefix_head_stride, prefix_tokens;
  int64_t q_tokens, q_offset, key_tokens; /* of both segments */
  Window window;
  int q_heads, group, q_tiles, key_tiles, head_dim;
  bool aligned;
  float scale_log2;
};

/* Copies a slice of up to `count` rows, `stride` elements apart, zeros behind them. */
__device__ inline void copy_rows(uint32_t to, const bf16* from, int64_t stride, int count,
                                 bool aligned) {
  const int first = threadIdx.x / (kSlice / 8), chunk = threadIdx.x % (kSlice / 8);
#pragma unroll
  for (int row = first; row < SX_TILE; row += kCopyRows) {
    const bool is_there = row < count;
    copy_row8(chunk_address<kSlice>(to, row, chunk),
              from + (is_there ? row * stride : 0) + chunk * 8, is_there, aligned);
  }
}

/* This thread's share of a tile's mass, of so many queries; keys are counted from the tile's first one on. */
__device__ inline float sum_weights(const MassArgs& args, const float (&logits)[4][8][4],
                                    const float* lse, int tokens, int64_t row_place,
                                    int64_t key_place, int warp_row, int warp_column) {
  const int lane = threadIdx.x % 32;
  float sum = 0;
#pragma unroll
  for (int m = 0; m < 4; m++) {
#pragma unroll
    for (int half = 0; half < 2; half++) {
      const int row = warp_row + m * 16 + half * 8 + lane / 4;
      const int64_t place = row_place + row;
      const int64_t begin = args.window.first_key(place) - key_place;
      const int64_t end = row < tokens ? place + 1 - key_place : 0;
#pragma unroll
      for (int n = 0; n < 8; n++) {
#pragma unroll
        for (int i = 0; i < 2; i++) {
          const int column = warp_column + n * 8 + lane % 4 * 2 + i;
          const float logit = logits[m][n][2 * half + i] * args.scale_log2;
          sum += column >= begin && column < end ? fast_exp2(logit - lse[row]) : 0;
        }
      }
    }
  }
  return sum;
}

__global__ void __launch_bounds__(kThreads, 2)
    tile_mass_kernel(const __grid_constant__ MassArgs args) {
  extern __shared__ __align__(128) unsigned char shared[];
  __shared__ float lse[SX_TILE], parts[kThreads / 32];
  const uint32_t base = shared_address(shared);
  const int warp = threadIdx.x / 32;
  const int warp_row = warp / 2 * kWarpTile, warp_column = warp % 2 * kWarpTile;
  const int64_t jobs = static_cast<int64_t>(args.q_heads) * args.q_tiles;
  for (int64_t job = blockIdx.x; job < jobs; job += gridDim.x) {
    /* The longest rows first; heads that read the same keys side by side. */
    const int head = static_cast<int>(job % args.q_heads), kv_head = head / args.group;
    const int row_tile = args.q_tiles - 1 - static_cast<int>(job / args.q_heads);
    const int64_t first_token = static_cast<int64_t>(row_tile) * SX_TILE;
    const int tokens = static_cast<int>(min64(SX_TILE, args.q_tokens - first_token));
    const int64_t row_place = args.q_offset + first_token;
    const int64_t q_stride = static_cast<int64_t>(args.q_heads) * args.head_dim;
    const bf16* q = args.q + first_token * q_stride + static_cast<int64_t>(head) * args.head_dim;
    float* mass =
        args.mass + (static_cast<int64_t>(head) * args.q_tiles + row_tile) * args.key_tiles;
    const int own = static_cast<int>(row_place / SX_TILE);
    const int first = static_cast<int>(args.window.first_tile(own));
    for (int tile = threadIdx.x; tile < args.key_tiles; tile += kThreads) {
      if (tile < first || tile > own) mass[tile] = 0;
    }
    __syncthreads(); /* all are done with the row tile before */
    const int64_t token = first_token + threadIdx.x;
    lse[threadIdx.x] = token < args.q_tokens ? args.lse_log2[token * args.q_heads + head] : 0;
    for (int tile = first; tile <= own; tile++) {
      const int64_t key = static_cast<int64_t>(tile) * SX_TILE;
      const bool is_prefix = key < args.prefix_tokens;
      const int64_t stride = is_prefix ? args.prefix_token_stride : args.token_stride;
      const bf16* keys =
          is_prefix ? args.prefix_keys + kv_head * args.prefix_head_stride + key * stride
                    : args.keys + kv_head * args.head_stride + (key - args.prefix_tokens) * stride;
      const int count = static_cast<int>(min64(SX_TILE, args.key_tokens - key));
      float logits[4][8][4] = {};
      for (int d = 0; d < args.head_dim; d += kSlice) {
        __syncthreads(); /* all have read the slice before */
        copy_rows(base, q + d, q_stride, tokens, args.aligned);
        copy_rows(base + kMatrixBytes, keys + d, stride, count, args.aligned);
        commit_copies();
        wait_copies<0>();
        __syncthreads();
        antidiagonal::multiply_slice(logits, base, warp_row, warp_column);
      }
      const float sum =
          warp_sum(sum_weights(args, logits, lse, tokens, row_place, key, warp_row, warp_column));
      if (threadIdx.x % 32 == 0) parts[warp] = sum;
      __syncthreads();
      if (threadIdx.x == 0) mass[tile] = parts[0] + parts[1] + (parts[2] + parts[3]);
    }
  }
}

}  // namespace

sx_status tile_mass(Context& context, const sx_tile_mass_params& params) {
  const sx_antidiagonal_score_params& args = params.tiles;
  if (args.q_tokens == 0) return SX_OK;
  const sx_key_values& kv = args.kv;
  MassArgs device = {};
  device.mass = args.mass;
  device.q = static_cast<const bf16*>(args.q);
  device.lse_log2 = params.lse_log2;
  device.keys = static_cast<const bf16*>(kv.keys);
  device.prefix_keys = static_cast<const bf16*>(kv.prefix_keys);
  device.token_stride = kv.token_stride;
  device.head_stride = kv.head_stride;
  device.prefix_token_stride = kv.prefix_token_stride;
  device.prefix_head_stride = kv.prefix_head_stride;
  device.prefix_tokens = kv.prefix_tokens;
  device.q_tokens = args.q_tokens;
  device.q_offset = args.q_offset;
  device.key_tokens = kv.prefix_tokens + kv.key_tokens;
  device.window = window_of(kv, args.window);
  device.q_heads = static_cast<int>(args.q_heads);
  device.group = static_cast<int>(args.q_heads / kv.kv_heads);
  device.q_tiles = static_cast<int>(ceil_div(args.q_tokens, SX_TILE));
  device.key_tiles = static_cast<int>(ceil_div(device.key_tokens, SX_TILE));
  device.head_dim = static_cast<int>(kv.head_dim);
  device.aligned =
      is_aligned(args.q) && is_aligned(kv.keys) && is_aligned(kv.prefix_keys) &&
      (kv.token_stride | kv.head_stride | kv.prefix_token_stride | kv.prefix_head_stride) % 8 == 0;
  device.scale_log2 = args.scale * 1.44269504088896341f;
  const int64_t blocks = args.q_heads * device.q_tiles;
  tile_mass_kernel<<<grid_of(blocks), kThreads, kStageBytes, context.stream>>>(device);
  return launched(context, "sum tiles");
}

}  // namespace cuda
}  // namespace sx
