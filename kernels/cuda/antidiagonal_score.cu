/*
 * Antidiagonal mass of every 128 x 128 block (see sx_antidiagonal_score in ../sx_kernels.h;
 * XAttention, arXiv 2503.16428, section 2.1).
 *
 * logits[i][j] = Qr[i] . Kr[j] * scale / S is a product of groups, vectors of S * D elements that are
 * read in place: T/S * N/S * S*D * 2 FLOPs a head, half of them causal. It is computed once. What is
 * kept of a tile of logits is, for every row of query groups and every cell's width of key groups,
 * log2 of the sum of their exponentials; a row's log-sum-exp and then the mass of a cell follow from
 * these alone. They lie in working memory that is linear in N: 128 rows of N/128 numbers for each
 * block of threads, of which two a multiprocessor run and take jobs (128 rows of a head) in turn.
 *
 * 128 threads, tiles of 128 x 128 groups, a warp 64 x 64 of them with 128 sums a lane, so that shared
 * memory feeds the tensor cores with 4 + 4 loads per 32 products; slices of 64 elements of a group
 * in three stages of 32 KiB, copied asynchronously two slices ahead, from tile to tile without a gap.
 */
#include "antidiagonal_tile.cuh"

namespace sx {
namespace cuda {

using namespace antidiagonal;

namespace {

/* Working memory at most; with more keys fewer blocks run at once. */
constexpr int64_t kMaxScratch = 512ll << 20;

/* Numbers that a lane reads at a time. */
constexpr int kReads = 8;

/* lse[row] = log2 of the sum of a row's exponentials; a warp a row. */
__device__ inline void sum_rows(float* lse, const float* sums, const Score& score, const Job& job) {
  const int64_t count = job.tiles * kTile >> score.unit_log2;
  const int lane = threadIdx.x % 32;
  for (int row = threadIdx.x / 32; row < job.rows; row += kThreads / 32) {
    const float* from = sums + row * score.width;
    float max = -INFINITY, sum = 0;
    for (int64_t first = lane; first < count; first += 32 * kReads) {
      float values[kReads], shift = max;
#pragma unroll
      for (int i = 0; i < kReads; i++) {
        values[i] = first + 32 * i < count ? from[first + 32 * i] : -INFINITY;
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
    sum = warp_sum(sum * fast_exp2(max - all));
    if (lane == 0) lse[row] = all + __log2f(sum);
  }
}

/* The mass of the cells of the job's row blocks. */
__device__ inline void write_mass(const float* lse, const float* sums, const Score& score,
                                  const Job& job) {
  const int cell = 1 << score.cell_log2;
  const int64_t covered = job.tiles * kTile >> score.cell_log2;
  for (int first = 0; first < job.rows; first += cell) {
    const int end = first + cell < job.rows ? first + cell : job.rows;
    const int64_t q_block = (job.first + first) >> score.cell_log2;
    float* mass = score.mass + (job.head * score.q_blocks + q_block) * score.key_blocks;
    for (int64_t block = threadIdx.x; block < score.key_blocks; block += kThreads) {
      float sum = 0;
      if (block < covered) {
        const int halves = score.cell_log2 - score.unit_log2;
#pragma unroll 8
        for (int row = first; row < end; row++) {
          const float* from = sums + row * score.width + (block << halves);
          sum += fast_exp2(from[0] - lse[row]);
          if (halves == 1) sum += fast_exp2(from[1] - lse[row]);
        }
      }
      mass[block] = sum;
    }
  }
}

__device__ inline void run_job(const Score& score, const Job& job, uint32_t base, float* lse) {
  const int warp = threadIdx.x / 32;
  const int warp_row = warp / 2 * kWarpTile, warp_column = warp % 2 * kWarpTile;
  float* sums = score.sums + static_cast<int64_t>(blockIdx.x) * kTile * score.width;
  Producer producer(score, job, base);
#pragma unroll 1
  for (int ahead = 0; ahead < kStages - 1; ahead++) producer.copy();
  int stage = 0;
  for (int64_t tile = 0; tile < job.tiles; tile++) {
    float logits[4][8][4] = {};
    for (int slice = 0; slice < producer.slices(); slice++) {
      wait_copies<kStages - 2>();
      __syncthreads(); /* the slice is there for all, and all are done with the one before */
      producer.copy();
      multiply_slice(logits, base + stage * kStageBytes, warp_row, warp_column);
      stage = stage == kStages - 1 ? 0 : stage + 1;
    }
    const int64_t seen = score.first_group + job.first + 1 - tile * kTile;
    write_tile(sums + (tile * kTile >> score.unit_log2), logits, score, seen, warp_row,
               warp_column);
  }
  wait_copies<0>();
  __syncthreads();
  sum_rows(lse, sums, score, job);
  __syncthreads();
  write_mass(lse, sums, score, job);
}

__global__ void __launch_bounds__(kThreads, 2)
antidiagonal_kernel(const __grid_constant__ Score score) {
  extern __shared__ __align__(128) unsigned char shared[];
  __shared__ float lse[kTile];
  __shared__ int number;
  const int64_t jobs = score.row_tiles * score.q_heads;
  for (;;) {
    __syncthreads(); /* all are done with the job before */
    if (threadIdx.x == 0) number = atomicAdd(score.next_job, 1);
    __syncthreads();
    if (number >= jobs) return;
    run_job(score, Job(score, number), shared_address(shared), lse);
  }
}

int log2_of(int64_t power) {
  int exponent = 0;
  while ((1ll << exponent) < power) exponent++;
  return exponent;
}

Score make_score(const AntidiagonalArgs& args) {
  const KeyValues& kv = args.kv;
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
  score.q_blocks = ceil_div(args.q_tokens, SX_BLOCK);
  score.key_blocks = ceil_div(score.key_tokens, SX_BLOCK);
  score.q_groups = ceil_div(args.q_tokens, args.stride);
  score.first_group = args.q_offset / args.stride;
  score.prefix_groups = kv.prefix_tokens / args.stride;
  score.row_tiles = ceil_div(score.q_groups, kTile);
  score.q_heads = static_cast<int>(args.q_heads);
  score.group = static_cast<int>(args.q_heads / kv.kv_heads);
  score.head_dim = static_cast<int>(kv.head_dim);
  score.stride_log2 = log2_of(args.stride);
  score.cell_log2 = log2_of(SX_BLOCK / args.stride);
  score.unit_log2 = score.cell_log2 < 6 ? score.cell_log2 : 6;
  score.width = round_up(score.first_group + score.q_groups, kTile) >> score.unit_log2;
  score.aligned = is_aligned(args.q) && is_aligned(kv.keys) && is_aligned(kv.prefix_keys) &&
                  (kv.token_stride | kv.head_stride | kv.prefix_token_stride |
                   kv.prefix_head_stride) % 8 == 0;
  score.scale_log2 = args.scale / static_cast<float>(args.stride) * 1.44269504088896341f;
  return score;
}

}  // namespace

sx_status antidiagonal_score(Context& context, const AntidiagonalArgs& args) {
  if (args.q_tokens == 0) return SX_OK;
  const char* op = "score blocks";
  Score score = make_score(args);
  const int64_t jobs = score.row_tiles * score.q_heads;
  if (jobs > INT32_MAX / 2) {
    /* Far beyond any device's memory; the number of a job is an int. */
    return device_failure(context, op, cudaErrorInvalidConfiguration);
  }
  SX_RETURN_IF_BAD(allow_shared(context, op, antidiagonal_kernel, kShared));
  int resident = 0;
  const cudaError_t error = cudaOccupancyMaxActiveBlocksPerMultiprocessor(
      &resident, antidiagonal_kernel, kThreads, kShared);
  if (error != cudaSuccess) return device_failure(context, op, error);
  const int64_t block_bytes = kTile * score.width * 4;
  const int64_t blocks = max64(
      1, min64(min64(jobs, static_cast<int64_t>(max64(resident, 1)) * context.multiprocessors),
               kMaxScratch / block_bytes));
  /* The counter has a line of its own in front. */
  constexpr int64_t kCounterBytes = 256;
  char* memory =
      static_cast<char*>(scratch(context, op, kCounterBytes + blocks * block_bytes));
  if (memory == nullptr) return SX_OUT_OF_MEMORY;
  score.next_job = reinterpret_cast<int*>(memory);
  score.sums = reinterpret_cast<float*>(memory + kCounterBytes);
  const cudaError_t cleared = cudaMemsetAsync(memory, 0, kCounterBytes, context.stream);
  if (cleared != cudaSuccess) return device_failure(context, op, cleared);
  antidiagonal_kernel<<<grid_of(blocks), kThreads, kShared, context.stream>>>(score);
  return launched(context, op);
}

}  // namespace cuda
}  // namespace sx
