/*
 * StarXAttention's antidiagonal score of a rank, and the mean of its keys (see sx_rank_score and
 * sx_key_mean in ../sx_attention.h; zer0-data/StarXAttention c33af48).
 *
 * key_mean: a block of 256 threads adds a run of tokens of one head, then a second kernel the runs
 * in their order; bytes tokens * kv_heads * D * kv. rank_score: a block a query head, a warp a query
 * token; bytes T * (HQ * 2 + HQ * kv) * D at most. Sums in f32: a lane's own, then in a fixed order.
 */
#include "element.cuh"
#include "ops.cuh"

namespace sx {
namespace cuda {

namespace {

constexpr int kThreads = 256;
/* Tokens of a run at least, and runs of a head at most: enough blocks to read at the memory's rate. */
constexpr int64_t kRunTokens = 256;
constexpr int64_t kMaxRuns = 64;

/* partial[run, head, :] = sum of the run's keys. A thread owns a column, or shares it with the
 * threads of other tokens. */
template <int kDim, class Key>
__global__ void __launch_bounds__(kThreads)
    add_keys_kernel(float* partial, const Key* keys,
                    const __grid_constant__ sx_key_mean_params args, int64_t run_tokens) {
  constexpr int kLanes = kThreads / kDim;
  __shared__ float parts[kLanes][kDim];
  const int d = threadIdx.x % kDim, part = threadIdx.x / kDim;
  const int64_t head = blockIdx.x % args.kv_heads, run = blockIdx.x / args.kv_heads;
  const int64_t end = min64((run + 1) * run_tokens, args.tokens);
  float sum = 0;
#pragma unroll 8
  for (int64_t t = run * run_tokens + part; t < end; t += kLanes) {
    sum += widen(keys[head * args.head_stride + t * args.token_stride + d]);
  }
  parts[part][d] = sum;
  __syncthreads();
  if (part != 0) return;
#pragma unroll
  for (int i = 1; i < kLanes; i++) sum += parts[i][d];
  partial[static_cast<int64_t>(blockIdx.x) * kDim + d] = sum;
}

__global__ void __launch_bounds__(kThreads)
    divide_kernel(float* out, const float* partial, int64_t count, int64_t runs, float tokens) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= count) return;
  float sum = 0;
  for (int64_t run = 0; run < runs; run++) sum += partial[run * count + i];
  out[i] = sum / tokens;
}

template <class Key>
void launch_sums(Context& context, const sx_key_mean_params& args, float* partial, int64_t runs) {
  const int64_t run_tokens = ceil_div(args.tokens, runs);
  auto kernel = args.head_dim == 128 ? add_keys_kernel<128, Key> : add_keys_kernel<64, Key>;
  kernel<<<grid_of(runs * args.kv_heads), kThreads, 0, context.stream>>>(
      partial, static_cast<const Key*>(args.keys), args, run_tokens);
}

/* A warp's sum of q . K'[partner] over some tokens; see sx_rank_score for K'. */
template <int kDim, class Key>
__device__ inline float add_tokens(const sx_rank_score_params& args, int64_t head, int first,
                                   int step) {
  const bf16* queries = static_cast<const bf16*>(args.q);
  const Key* keys = static_cast<const Key*>(args.keys);
  const int64_t kv_head = head % args.kv_heads;
  const int64_t length = min64(args.q_tokens, args.key_tokens + 1);
  const int lane = threadIdx.x % 32;
  float sum = 0;
  for (int64_t t = first; t < length; t += step) {
    const int64_t partner = t / args.stride * args.stride + args.stride - 1 - t % args.stride;
    if (partner >= length) continue;
    const bf16* q = queries + (t * args.q_heads + head) * kDim;
#pragma unroll
    for (int i = 0; i < kDim / 32; i++) {
      const int d = lane + 32 * i;
      const int64_t at = kv_head * args.head_stride + (partner - 1) * args.token_stride + d;
      sum += widen(q[d]) * (partner == 0 ? args.anchor_mean[kv_head * kDim + d] : widen(keys[at]));
    }
  }
  return sum;
}

template <int kDim, class Key>
__global__ void __launch_bounds__(kThreads)
    rank_score_kernel(const __grid_constant__ sx_rank_score_params args) {
  __shared__ float parts[kThreads / 32];
  const float sum =
      add_tokens<kDim, Key>(args, blockIdx.x, static_cast<int>(threadIdx.x / 32), kThreads / 32);
  const float total = block_sum<kThreads>(sum, parts);
  if (threadIdx.x == 0) args.score[blockIdx.x] = total * args.scale;
}

template <class Key>
void launch_score(Context& context, const sx_rank_score_params& args) {
  auto kernel = args.head_dim == 128 ? rank_score_kernel<128, Key> : rank_score_kernel<64, Key>;
  kernel<<<grid_of(args.q_heads), kThreads, 0, context.stream>>>(args);
}

}  // namespace

sx_status key_mean(Context& context, const sx_key_mean_params& args) {
  const char* op = "average keys";
  const int64_t wanted = min64(ceil_div(args.tokens, kRunTokens), kMaxRuns);
  /* No run is empty: the last one may be short. */
  const int64_t runs = ceil_div(args.tokens, ceil_div(args.tokens, wanted));
  const int64_t count = args.kv_heads * args.head_dim;
  float* partial = static_cast<float*>(scratch(context, op, runs * count * 4));
  if (partial == nullptr) return SX_OUT_OF_MEMORY;
  args.kv_dtype == SX_BF16 ? launch_sums<bf16>(context, args, partial, runs)
                           : launch_sums<float>(context, args, partial, runs);
  SX_RETURN_IF_BAD(launched(context, op));
  divide_kernel<<<grid_of(ceil_div(count, kThreads)), kThreads, 0, context.stream>>>(
      args.out, partial, count, runs, static_cast<float>(args.tokens));
  return launched(context, op);
}

sx_status rank_score(Context& context, const sx_rank_score_params& args) {
  args.kv_dtype == SX_BF16 ? launch_score<bf16>(context, args) : launch_score<float>(context, args);
  return launched(context, "score a rank");
}

}  // namespace cuda
}  // namespace sx
