/*
 * The kernel of dense and block-sparse attention on any tensor core from Ampere on: flash style
 * (arXiv 2205.14135, 2307.08691), mma.sync with bf16 products and f32 sums.
 *
 * A block of 256 threads owns 128 queries of one head, 16 a warp, whose fragments stay in registers.
 * Tiles of 64 keys and values pass through two stages of shared memory (64 KiB at head size 128),
 * the next being copied while this one is used. The chunks of 16 bytes of a row are permuted by the
 * row's number, so that matrix loads meet no bank twice. Masking touches only the tiles that the
 * diagonal or the end of a segment crosses, and so does the search for values that are not finite
 * (see attention_finite.cuh).
 */
#ifndef SX_CUDA_ATTENTION_TILE_CUH
#define SX_CUDA_ATTENTION_TILE_CUH

#include "attention_finite.cuh"

namespace sx {
namespace cuda {

constexpr int kTileThreads = 256;
constexpr int kTileKeys = 64;
static_assert(kRowBlock == kTileThreads / 32 * 16, "a warp owns 16 rows");

/* Shared memory of both stages, which hold the queries first. */
template <int kDim>
constexpr int tile_shared_bytes() {
  return 2 * 2 * kTileKeys * kDim * 2;
}

/* Rows 0..kRows - 1 of a matrix to shared memory; those from `count` on become zero. */
template <int kDim, int kRows, bool kAligned>
__device__ inline void copy_rows(uint32_t to, const bf16* from, int64_t stride, int count) {
  constexpr int kChunks = kDim / 8;
#pragma unroll
  for (int i = 0; i < kRows * kChunks / kTileThreads; i++) {
    const int n = i * kTileThreads + threadIdx.x;
    const int row = n / kChunks, chunk = n % kChunks;
    const bool valid = row < count;
    copy_row8(chunk_address<kDim>(to, row, chunk), from + (valid ? row * stride : 0) + chunk * 8,
              valid, kAligned);
  }
}

/* The same of a matrix whose alignment is known at run time. */
template <int kDim, int kRows>
__device__ inline void copy_rows(uint32_t to, const bf16* from, int64_t stride, int count,
                                 bool aligned) {
  aligned ? copy_rows<kDim, kRows, true>(to, from, stride, count)
          : copy_rows<kDim, kRows, false>(to, from, stride, count);
}

/* The state of a warp: 16 rows of queries, their sums, and rows lane/4 and lane/4 + 8's softmax. */
template <int kDim>
struct WarpState {
  uint32_t q[kDim / 16][4];
  float out[kDim / 8][4];
  float max[2]; /* of the logits before scaling */
  float sum[2]; /* of this lane's columns */
};

template <int kDim>
__device__ inline void load_queries(WarpState<kDim>& state, uint32_t base, bool negate) {
  const int lane = threadIdx.x % 32, row = threadIdx.x / 32 * 16 + lane % 16;
  const uint32_t sign = negate ? 0x80008000u : 0;
#pragma unroll
  for (int k = 0; k < kDim / 16; k++) {
    load_matrices(state.q[k], chunk_address<kDim>(base, row, 2 * k + lane / 16));
#pragma unroll
    for (int i = 0; i < 4; i++) state.q[k][i] ^= sign;
  }
}

/* logits[n] = queries . keys 8n.. of the tile. */
template <int kDim>
__device__ inline void multiply_keys(float (&logits)[kTileKeys / 8][4],
                                     const WarpState<kDim>& state, uint32_t keys) {
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int n = 0; n < kTileKeys / 8; n++) {
#pragma unroll
    for (int i = 0; i < 4; i++) logits[n][i] = 0;
  }
#pragma unroll
  for (int k = 0; k < kDim / 16; k++) {
#pragma unroll
    for (int n = 0; n < kTileKeys / 16; n++) {
      uint32_t b[4];
      const int row = n * 16 + lane / 16 * 8 + lane % 8;
      load_matrices(b, chunk_address<kDim>(keys, row, 2 * k + lane / 8 % 2));
      multiply_add(logits[2 * n], state.q[k], b[0], b[1]);
      multiply_add(logits[2 * n + 1], state.q[k], b[2], b[3]);
    }
  }
}

/* Logits of keys that a row does not see become -inf; `first` and `second` are how many of the
 * tile's keys the lane's two rows see. */
__device__ inline void mask_logits(float (&logits)[kTileKeys / 8][4], int first, int second) {
  const int column = threadIdx.x % 4 * 2;
#pragma unroll
  for (int n = 0; n < kTileKeys / 8; n++) {
#pragma unroll
    for (int i = 0; i < 2; i++) {
      if (n * 8 + column + i >= first) logits[n][i] = -INFINITY;
      if (n * 8 + column + i >= second) logits[n][2 + i] = -INFINITY;
    }
  }
}

/* The same of keys before a row's window: of how many of the tile's keys. */
__device__ inline void mask_before(float (&logits)[kTileKeys / 8][4], int first, int second) {
  const int column = threadIdx.x % 4 * 2;
#pragma unroll
  for (int n = 0; n < kTileKeys / 8; n++) {
#pragma unroll
    for (int i = 0; i < 2; i++) {
      if (n * 8 + column + i < first) logits[n][i] = -INFINITY;
      if (n * 8 + column + i < second) logits[n][2 + i] = -INFINITY;
    }
  }
}

/* Online softmax: logits become weights relative to the new maximum, sums are brought to it. */
template <int kDim>
__device__ inline void soften(float (&logits)[kTileKeys / 8][4], WarpState<kDim>& state,
                              float scale) {
#pragma unroll
  for (int half = 0; half < 2; half++) {
    float max = state.max[half];
#pragma unroll
    for (int n = 0; n < kTileKeys / 8; n++) {
      max = fmaxf(max, fmaxf(logits[n][2 * half], logits[n][2 * half + 1]));
    }
    max = quad_max(max);
    /* A row that has seen no key yet: any finite maximum gives weights of 0. */
    const float shift = max == -INFINITY ? 0 : max * scale;
    /* Exactly 1 where nothing has grown, so that tiles of which a row sees nothing change none of its
     * bits: the product and the difference would be rounded once, the shift was before. */
    const float factor = max == state.max[half] ? 1 : fast_exp2(state.max[half] * scale - shift);
    state.max[half] = max;
    float sum = 0;
#pragma unroll
    for (int n = 0; n < kTileKeys / 8; n++) {
#pragma unroll
      for (int i = 2 * half; i < 2 * half + 2; i++) {
        logits[n][i] = fast_exp2(logits[n][i] * scale - shift);
        sum += logits[n][i];
      }
    }
    state.sum[half] = state.sum[half] * factor + sum;
#pragma unroll
    for (int n = 0; n < kDim / 8; n++) {
      state.out[n][2 * half] *= factor;
      state.out[n][2 * half + 1] *= factor;
    }
  }
}

/* out += weights . values. */
template <int kDim>
__device__ inline void multiply_values(WarpState<kDim>& state,
                                       const float (&weights)[kTileKeys / 8][4], uint32_t values) {
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int k = 0; k < kTileKeys / 16; k++) {
    const uint32_t a[4] = {pack_bf16(weights[2 * k][0], weights[2 * k][1]),
                           pack_bf16(weights[2 * k][2], weights[2 * k][3]),
                           pack_bf16(weights[2 * k + 1][0], weights[2 * k + 1][1]),
                           pack_bf16(weights[2 * k + 1][2], weights[2 * k + 1][3])};
#pragma unroll
    for (int n = 0; n < kDim / 16; n++) {
      uint32_t b[4];
      const int row = k * 16 + lane / 8 % 2 * 8 + lane % 8;
      load_matrices_transposed(b, chunk_address<kDim>(values, row, 2 * n + lane / 16));
      multiply_add(state.out[2 * n], a, b[0], b[1]);
      multiply_add(state.out[2 * n + 1], a, b[2], b[3]);
    }
  }
}

/* All threads of the block: zeroes the values of a tile that are not finite, and says whether there
 * are any. */
template <int kDim>
__device__ inline bool clean_values(uint32_t values) {
  bool found = false;
#pragma unroll
  for (int i = 0; i < kTileKeys * kDim / 8 / kTileThreads; i++) {
    found |= zero_unfinite(values + (i * kTileThreads + threadIdx.x) * 16);
  }
  return __syncthreads_or(found) != 0;
}

template <int kDim>
__device__ inline void write_rows(const AttentionParams& params, const Job& job,
                                  const WarpState<kDim>& state) {
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int half = 0; half < 2; half++) {
    const float sum = quad_sum(state.sum[half]);
    const int64_t t =
        static_cast<int64_t>(job.q_block) * kRowBlock + threadIdx.x / 32 * 16 + lane / 4 + half * 8;
    if (t >= params.q_tokens) continue;
    const int64_t row = t * params.q_heads + job.head;
    /* NaN stays NaN. */
    const float inverse = sum == 0 ? 0 : 1 / sum;
#pragma unroll
    for (int n = 0; n < kDim / 8; n++) {
      put_pair(params.out, params.out_dtype, row * kDim + n * 8 + lane % 4 * 2,
               state.out[n][2 * half] * inverse, state.out[n][2 * half + 1] * inverse,
               params.out_aligned);
    }
    if (params.lse_log2 != nullptr && lane % 4 == 0) {
      params.lse_log2[row] =
          sum == 0 ? -INFINITY : state.max[half] * params.scale_log2 + log2f(sum);
    }
  }
}

template <int kDim, bool kSparse>
struct TileKernel {
  static constexpr int kStageBytes = kTileKeys * kDim * 2;

  /* Keys to stage 2 * slot, values behind them. */
  __device__ static void copy_tile(const AttentionParams& params, const Job& job, const Tile& tile,
                                   uint32_t slot) {
    const Segment& segment = tile.is_prefix ? params.prefix : params.own;
    const int64_t first = static_cast<int64_t>(job.head / params.group) * segment.head_stride +
                          tile.first * segment.token_stride;
    copy_rows<kDim, kTileKeys>(slot, segment.keys + first, segment.token_stride, tile.count,
                               params.aligned);
    copy_rows<kDim, kTileKeys>(slot + kStageBytes, segment.values + first, segment.token_stride,
                               tile.count, params.aligned);
  }

  __device__ static void run(const AttentionParams& params) {
    extern __shared__ __align__(128) unsigned char shared[];
    const uint32_t base = shared_address(shared);
    const Job job(params, blockIdx.x);
    const TileWalk<kTileKeys, kSparse> walk(params, job.head, job.q_block);
    const int64_t first_row = static_cast<int64_t>(job.q_block) * kRowBlock;
    const int64_t rows = min64(kRowBlock, params.q_tokens - first_row);
    copy_rows<kDim, kRowBlock>(base, params.q + (first_row * params.q_heads + job.head) * kDim,
                               static_cast<int64_t>(params.q_heads) * kDim, static_cast<int>(rows),
                               params.aligned);
    commit_copies();
    wait_copies<0>();
    __syncthreads();
    WarpState<kDim> state = {};
    state.max[0] = state.max[1] = -INFINITY;
    load_queries(state, base, params.negate);
    __syncthreads();
    const int warp_row = threadIdx.x / 32 * 16;
    const int64_t warp_first = params.q_offset + first_row + warp_row; /* its last visible key */
    Tile next = {};
    bool cleaned = false;
    if (walk.tiles > 0) copy_tile(params, job, next = walk.tile(0), base);
    commit_copies();
    for (int n = 0; n < walk.tiles; n++) {
      const Tile tile = next;
      const uint32_t slot = base + n % 2 * 2 * kStageBytes;
      if (n + 1 < walk.tiles) {
        copy_tile(params, job, next = walk.tile(n + 1), base + (n + 1) % 2 * 2 * kStageBytes);
      }
      commit_copies();
      wait_copies<1>();
      __syncthreads();
      if (!sees_all<kTileKeys>(params, job.q_block, tile)) {
        cleaned |= clean_values<kDim>(slot + kStageBytes);
      }
      float logits[kTileKeys / 8][4];
      multiply_keys(logits, state, slot);
      const int64_t seen = warp_first + 1 - tile.base; /* keys of the tile that its row 0 sees */
      if (tile.count < kTileKeys || seen < kTileKeys) {
        const int64_t mine = seen + threadIdx.x % 32 / 4;
        mask_logits(logits, static_cast<int>(max64(0, min64(mine, tile.count))),
                    static_cast<int>(max64(0, min64(mine + 8, tile.count))));
      }
      if (params.window.tokens > 0) {
        const int64_t row = warp_first + threadIdx.x % 32 / 4;
        const auto hidden = [&](int64_t place) {
          const int64_t before = params.window.first_key(place) - tile.base;
          return static_cast<int>(max64(0, min64(before, kTileKeys)));
        };
        mask_before(logits, hidden(row), hidden(row + 8));
      }
      soften(logits, state, params.scale_log2);
      multiply_values(state, logits, slot + kStageBytes);
      __syncthreads();
    }
    write_rows(params, job, state);
    if (cleaned) {
      __syncthreads();
      add_unfinite<kDim>(params, walk, job, threadIdx.x, kTileThreads);
    }
  }
};

template <int kDim, bool kSparse>
__global__ void __launch_bounds__(kTileThreads, 1)
    attention_tile_kernel(const __grid_constant__ AttentionParams params) {
  TileKernel<kDim, kSparse>::run(params);
}

template <int kDim, bool kSparse>
sx_status launch_attention_tile(Context& context, const AttentionParams& params, const char* op) {
  constexpr int kShared = tile_shared_bytes<kDim>();
  static_assert(kShared >= kRowBlock * kDim * 2, "the stages hold the queries first");
  auto kernel = attention_tile_kernel<kDim, kSparse>;
  SX_RETURN_IF_BAD(allow_shared(context, op, kernel, kShared));
  const unsigned grid = static_cast<unsigned>(params.q_tiles) * params.q_heads;
  kernel<<<grid, kTileThreads, kShared, context.stream>>>(params);
  return launched(context, op);
}

}  // namespace cuda
}  // namespace sx

#endif
