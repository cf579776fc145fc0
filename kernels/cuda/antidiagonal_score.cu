/*
 * Antidiagonal mass of every tile of 128 x 128 (see sx_antidiagonal_score in ../sx_attention.h;
 * XAttention, arXiv 2503.16428, section 2.1).
 *
 * logits[i][j] = Qr[i] . Kr[j] * scale / S is a product of groups, vectors of S * D elements that are
 * read in place: T/S * N/S * S*D * 2 FLOPs a head, half of them causal. It is computed once. What is
 * kept of a tile of logits is, for every row of query groups and every unit of key groups (a cell's
 * width, or a part of it), log2 of the sum of their exponentials. A second kernel makes of a row
 * block's sums its rows' log-sum-exp, and then the mass of its cells. The sums lie in working memory;
 * where it would take too much, key heads and then rows are done in passes, each with both kernels.
 *
 * The generic build of the first kernel: 128 threads, two blocks a multiprocessor, which walk over
 * the pass's tiles of 128 x 128 groups, a warp 64 x 64 of them with 128 sums a lane, so that shared
 * memory feeds the tensor cores with 4 + 4 loads per 32 products; slices of 64 elements of a group
 * in three stages of 32 KiB, copied asynchronously two slices ahead, from tile to tile without a gap.
 * Key groups that a window hides from all rows of a tile are not read.
 * Hopper's build: antidiagonal_score_sm90.cu. Bytes of sums: 8 T/S * N/128 a head, half of them
 * causal, written and read.
 */
#include "antidiagonal_tile.cuh"

namespace sx {
namespace cuda {

using namespace antidiagonal;

namespace {

/* Working memory at most, but for a pass of one tile of rows: what lib/star/memory_plan.ts reserves. */
constexpr int64_t kMaxSums = 256ll << 20;

constexpr int kMassThreads = 256;
/* Numbers that a lane reads at a time. */
constexpr int kReads = 8;

__global__ void __launch_bounds__(kThreads, 2) sums_kernel(const __grid_constant__ Score score) {
  extern __shared__ __align__(128) unsigned char shared[];
  const uint32_t base = shared_address(shared);
  const int warp = threadIdx.x / 32;
  const int warp_row = warp / 2 * kWarpTile, warp_column = warp % 2 * kWarpTile;
  Walk walk(blockIdx.x, gridDim.x);
  Producer producer(score, walk, base);
#pragma unroll 1
  for (int ahead = 0; ahead < kStages - 1; ahead++) producer.copy();
  int stage = 0;
  Tile tile;
  while (walk.next(score, tile)) {
    if (hidden_groups(score, tile, 0) == kTile) {
      write_hidden(tile, score);
      continue;
    }
    float logits[4][8][4] = {};
    for (int slice = 0; slice < producer.slices(); slice++) {
      wait_copies<kStages - 2>();
      __syncthreads(); /* the slice is there for all, and all are done with the one before */
      producer.copy();
      multiply_slice(logits, base + stage * kStageBytes, warp_row, warp_column);
      stage = stage == kStages - 1 ? 0 : stage + 1;
    }
    const int seen = score.first_group + tile.first_query(score) + 1 - tile.column * kTile;
    write_tile(tile, logits, score, seen, warp_row, warp_column);
  }
  wait_copies<0>();
}

/* log2 of the sum of a row's exponentials, by a warp. */
__device__ inline float sum_row(const float* sums, int64_t count) {
  const int lane = threadIdx.x % 32;
  float max = -INFINITY, sum = 0;
  for (int64_t first = lane; first < count; first += 32 * kReads) {
    float values[kReads], shift = max;
#pragma unroll
    for (int i = 0; i < kReads; i++) {
      values[i] = first + 32 * i < count ? sums[first + 32 * i] : -INFINITY;
    }
#pragma unroll
    for (int i = 0; i < kReads; i++) shift = fmaxf(shift, values[i]);
    const float before = max;
    max = shift;
    if (shift == -INFINITY) shift = 0;
    sum *= fast_exp2(before - shift);
#pragma unroll
    for (int i = 0; i < kReads; i++) sum += fast_exp2(values[i] - shift);
  }
  const float all = warp_max(max);
  const float shift = all == -INFINITY ? 0 : all;
  return shift + __log2f(warp_sum(sum * fast_exp2(max - shift)));
}

/* The mass of the cells of one row block of one head. */
__global__ void __launch_bounds__(kMassThreads) mass_kernel(const __grid_constant__ Score score) {
  __shared__ float lse[kTileRows];
  const int cell = 1 << score.cell_log2, heads = score.kv_heads * score.group;
  const int head = static_cast<int>(blockIdx.x % heads);
  /* Rows of the pass and of the call. */
  const int first = static_cast<int>(blockIdx.x / heads) << score.cell_log2;
  const int first_group = score.first_row * kTileRows + first;
  const int rows = static_cast<int>(min64(cell, score.q_groups - first_group));
  const int tiles = score.tiles(first_group / kTileRows);
  const float* sums =
      score.sums + (static_cast<int64_t>(head) * score.rows * kTileRows + first) * score.width;
  for (int row = threadIdx.x / 32; row < rows; row += kMassThreads / 32) {
    const float sum =
        sum_row(sums + row * score.width, static_cast<int64_t>(tiles) * score.units_per_tile());
    if (threadIdx.x % 32 == 0) lse[row] = sum;
  }
  __syncthreads();
  const int64_t row_block =
      static_cast<int64_t>(score.first_kv * score.group + head) * score.q_tiles +
      (first_group >> score.cell_log2);
  float* mass = score.mass + row_block * score.key_tiles;
  /* Blocks that the rows see: those before a window have no sums, which NaN in a row must not reach.
   * Behind a border their units begin with a tile. */
  const int64_t hidden =
      score.window.first_tile((score.first_group + first_group) >> score.cell_log2);
  const int covered = ((score.first_group + first_group + rows - 1) >> score.cell_log2) + 1;
  const int border = score.border >> score.cell_log2, per_cell = score.cell_log2 - score.unit_log2;
  const int gap = ((score.border_tiles() << score.tile_log2) - score.border) >> score.unit_log2;
  for (int64_t block = threadIdx.x; block < score.key_tiles; block += kMassThreads) {
    float sum = 0;
    if (block >= hidden && block < covered) {
      const float* from = sums + (block << per_cell) + (block < border ? 0 : gap);
#pragma unroll 8
      for (int row = 0; row < rows; row++) {
        for (int i = 0; i < 1 << per_cell; i++) {
          sum += fast_exp2(from[row * score.width + i] - lse[row]);
        }
      }
    }
    mass[block] = sum;
  }
}

int log2_of(int64_t power) {
  int exponent = 0;
  while ((1ll << exponent) < power) exponent++;
  return exponent;
}

Score make_score(const sx_antidiagonal_score_params& args) {
  const sx_key_values& kv = args.kv;
  Score score = {};
  score.mass = args.mass;
  score.q = static_cast<const bf16*>(args.q);
  score.keys = static_cast<const bf16*>(kv.keys);
  score.prefix_keys = static_cast<const bf16*>(kv.prefix_keys);
  score.q_tokens = args.q_tokens;
  score.key_tokens = kv.prefix_tokens + kv.key_tokens;
  score.token_stride = kv.token_stride;
  score.head_stride = kv.head_stride;
  score.prefix_token_stride = kv.prefix_token_stride;
  score.prefix_head_stride = kv.prefix_head_stride;
  score.q_tiles = ceil_div(args.q_tokens, SX_TILE);
  score.key_tiles = ceil_div(score.key_tokens, SX_TILE);
  score.q_groups = static_cast<int>(ceil_div(args.q_tokens, args.stride));
  score.first_group = static_cast<int>(args.q_offset / args.stride);
  score.prefix_groups = static_cast<int>(kv.prefix_tokens / args.stride);
  score.q_heads = static_cast<int>(args.q_heads);
  score.group = static_cast<int>(args.q_heads / kv.kv_heads);
  score.head_dim = static_cast<int>(kv.head_dim);
  score.stride_log2 = log2_of(args.stride);
  score.cell_log2 = log2_of(SX_TILE / args.stride);
  score.window = window_of(kv, args.window);
  score.unit_log2 = score.cell_log2 < 6 ? score.cell_log2 : 6;
  score.tile_log2 = kTileLog2;
  score.aligned =
      is_aligned(args.q) && is_aligned(kv.keys) && is_aligned(kv.prefix_keys) &&
      (kv.token_stride | kv.head_stride | kv.prefix_token_stride | kv.prefix_head_stride) % 8 == 0;
  score.scale_log2 = args.scale / static_cast<float>(args.stride) * 1.44269504088896341f;
  return score;
}

sx_status make_sums(Context& context, const Score& score, const char* op) {
  SX_RETURN_IF_BAD(allow_shared(context, op, sums_kernel, kShared));
  int resident = 0;
  const cudaError_t error =
      cudaOccupancyMaxActiveBlocksPerMultiprocessor(&resident, sums_kernel, kThreads, kShared);
  if (error != cudaSuccess) return device_failure(context, op, error);
  const unsigned blocks = grid_of(max64(resident, 1) * context.multiprocessors);
  sums_kernel<<<blocks, kThreads, kShared, context.stream>>>(score);
  return launched(context, op);
}

/* Bytes of the sums of one tile of rows of one key head's query heads, up to a number of rows. */
int64_t row_bytes(const Score& score, int rows) {
  return static_cast<int64_t>(score.group) * kTileRows * score.tiles(rows - 1) *
         score.units_per_tile() * 4;
}

/* A pass: its sums, and what follows from them. */
sx_status run_pass(Context& context, Score& score, bool hopper, const char* op) {
  score.width =
      static_cast<int64_t>(score.tiles(score.first_row + score.rows - 1)) * score.units_per_tile();
  SX_RETURN_IF_BAD(hopper ? make_sums_sm90(context, score, op) : make_sums(context, score, op));
  const int64_t groups = min64(static_cast<int64_t>(score.rows) * kTileRows,
                               score.q_groups - static_cast<int64_t>(score.first_row) * kTileRows);
  const int64_t blocks = ceil_div(groups, 1 << score.cell_log2) * score.kv_heads * score.group;
  mass_kernel<<<grid_of(blocks), kMassThreads, 0, context.stream>>>(score);
  return launched(context, op);
}

}  // namespace

sx_status antidiagonal_score(Context& context, const sx_antidiagonal_score_params& args) {
  if (args.q_tokens == 0) return SX_OK;
  const char* op = "score tiles";
  if (args.q_offset + args.q_tokens > (1ll << 30)) {
    /* Far beyond any device's memory; the number of a group is an int. */
    return device_failure(context, op, cudaErrorInvalidConfiguration);
  }
  Score score = make_score(args);
  const int kv_heads = static_cast<int>(args.kv.kv_heads);
  const bool hopper = fits_hopper(context, score, kv_heads);
  if (hopper) cut_for_hopper(score);
  score.band = score.group < kFront ? kFront / score.group : 1;
  /* As many key heads at once as there is room for; if not even one, then a part of its rows. */
  const int all = static_cast<int>(ceil_div(score.q_groups, kTileRows));
  const int64_t bytes = row_bytes(score, all);
  int heads_at_once = 1, rows_at_once = all;
  if (bytes * all <= kMaxSums) {
    const int64_t passes = ceil_div(kv_heads, min64(kv_heads, kMaxSums / (bytes * all)));
    heads_at_once = static_cast<int>(ceil_div(kv_heads, passes));
  } else {
    const int64_t fitting = max64(1, kMaxSums / bytes);
    rows_at_once =
        static_cast<int>(fitting > score.band ? fitting / score.band * score.band : fitting);
  }
  /* A power of two, so that the chunks of a prefill do not each ask for a little more. */
  const int64_t needed = bytes * heads_at_once * rows_at_once;
  score.sums = static_cast<float*>(scratch(context, op, 1ll << log2_of(needed)));
  if (score.sums == nullptr) return SX_OUT_OF_MEMORY;
  for (int kv_head = 0; kv_head < kv_heads; kv_head += heads_at_once) {
    score.first_kv = kv_head;
    score.kv_heads = static_cast<int>(min64(heads_at_once, kv_heads - kv_head));
    for (int row = 0; row < all; row += rows_at_once) {
      score.first_row = row;
      score.rows = static_cast<int>(min64(rows_at_once, all - row));
      SX_RETURN_IF_BAD(run_pass(context, score, hopper, op));
    }
  }
  return SX_OK;
}

}  // namespace cuda
}  // namespace sx
