/*
 * How decode attention splits its keys over a device, and the merge of the splits: of attention_decode.cu
 * and attention_decode_tiles.cu.
 */
#ifndef SX_CUDA_ATTENTION_DECODE_PLAN_CUH
#define SX_CUDA_ATTENTION_DECODE_PLAN_CUH

#include "attention_decode.cuh"

namespace sx {
namespace cuda {
namespace decode {

/* Blocks of a multiprocessor: with D = 128 they have up to 192 KiB under way. */
constexpr int kResident = 3;
/* One sequence alone is split for so many blocks of each multiprocessor. */
constexpr int kSplitResident = 2;

/* The queues of the warps, and in their place the states that are merged at the end. */
template <int kDim, int kTiles>
constexpr int kSharedBytes = static_cast<int>(
    sizeof(SharedState<kDim, kTiles>) > sizeof(uint4[kWarps][kStages][kPieces<kDim>][32])
        ? sizeof(SharedState<kDim, kTiles>)
        : sizeof(uint4[kWarps][kStages][kPieces<kDim>][32]));

/* Merges the splits of a row in order: one block a row, a thread an element. A row that is not `valid`
 * gets NaN. */
template <int kDim, class Out>
__device__ inline void merge_splits(const Decode& decode, int splits, bool valid) {
  __shared__ float2 weights[kMostSplits]; /* of a split, and its share of the sum */
  __shared__ float tops[kDim / 32];
  const int64_t rows = gridDim.x, row = blockIdx.x;
  float max = -INFINITY;
  for (int split = threadIdx.x; split < splits; split += kDim) {
    weights[split] = decode.states[split * rows + row];
    max = fmaxf(max, weights[split].x);
  }
  max = warp_max(max);
  if (threadIdx.x % 32 == 0) tops[threadIdx.x / 32] = max;
  __syncthreads();
#pragma unroll
  for (int warp = 0; warp < kDim / 32; warp++) max = fmaxf(max, tops[warp]);
  for (int split = threadIdx.x; split < splits; split += kDim) {
    const float weight = weight_of(weights[split], max);
    weights[split] = make_float2(weight, weight * weights[split].y);
  }
  __syncthreads();
  float sum = 0, out = 0;
#pragma unroll 8
  for (int split = 0; split < splits; split++) {
    sum += weights[split].y;
    out += weights[split].x * decode.partial[(split * rows + row) * kDim + threadIdx.x];
  }
  const float inverse = !valid ? __uint_as_float(0x7fc00000u) : sum == 0 ? 0 : 1 / sum;
  put(static_cast<Out*>(decode.out) + row * kDim + threadIdx.x, out * inverse);
  if (threadIdx.x != 0 || decode.lse_log2 == nullptr) return;
  decode.lse_log2[row] = !valid ? inverse : sum == 0 ? -INFINITY : max + log2f(sum);
}

/* How the call's sequences are split, and how many of them one launch takes. */
struct SplitPlan {
  int64_t group, row_tile, row_tiles, limit, splits, sequences;
};

inline SplitPlan plan_splits(const Context& context, const sx_attention_decode_params& args) {
  SplitPlan plan;
  plan.group = args.q_heads / args.kv_heads;
  plan.row_tile = args.q_tokens * plan.group <= 8 ? 8 : 16;
  plan.row_tiles = ceil_div(args.q_tokens * plan.group, plan.row_tile);
  /* Enough blocks for one sequence to fill the device, and working memory for them. */
  const int64_t bytes = args.q_tokens * args.q_heads * (args.head_dim + 2) * 4;
  const int64_t fill = context.multiprocessors * kSplitResident / (args.kv_heads * plan.row_tiles);
  plan.limit = max64(1, min64(min64(fill, kFirstScratchBytes / bytes), kMostSplits));
  const int64_t most = args.window > 0 ? min64(args.sequence_capacity, args.window + args.q_tokens)
                                       : args.sequence_capacity;
  plan.splits = min64(plan.limit, ceil_div(most, kLeastShare));
  const int64_t room = max64(1, kFirstScratchBytes / (max64(1, plan.splits) * bytes));
  const int64_t passes = ceil_div(args.sequences, room);
  plan.sequences = ceil_div(args.sequences, passes);
  return plan;
}

/* The sequences from `first` on. */
inline Decode part_of(const sx_attention_decode_params& args, const SplitPlan& plan, int64_t first,
                      float* partial) {
  const int64_t rows = args.q_tokens * args.q_heads;
  const int64_t sequences = min64(plan.sequences, args.sequences - first);
  const int64_t at = first * rows * args.head_dim;
  Decode decode = {};
  decode.out = static_cast<char*>(args.out) + at * dtype_bytes(args.out_dtype);
  decode.lse_log2 = args.lse_log2 == nullptr ? nullptr : args.lse_log2 + first * rows;
  decode.q = static_cast<const bf16*>(args.q) + at;
  decode.keys = static_cast<const bf16*>(args.keys);
  decode.values = static_cast<const bf16*>(args.values);
  decode.first_row = args.first_row == nullptr ? nullptr : args.first_row + first;
  decode.key_count = args.key_count + first;
  decode.partial = partial;
  decode.states =
      reinterpret_cast<float2*>(partial + plan.splits * sequences * rows * args.head_dim);
  decode.cache_rows = args.key_capacity;
  decode.most_keys = args.sequence_capacity;
  decode.window = args.window;
  decode.token_stride = args.token_stride;
  decode.head_stride = args.head_stride;
  decode.sequences = static_cast<int>(sequences);
  decode.tokens = static_cast<int>(args.q_tokens);
  decode.q_heads = static_cast<int>(args.q_heads);
  decode.group = static_cast<int>(plan.group);
  decode.row_tiles = static_cast<int>(plan.row_tiles);
  decode.splits = static_cast<int>(plan.splits);
  decode.split_limit = static_cast<int>(plan.limit);
  decode.out_dtype = args.out_dtype;
  decode.causal = args.causal == 1;
  decode.scale_log2 = args.scale * 1.44269504088896341f;
  return decode;
}

}  // namespace decode
}  // namespace cuda
}  // namespace sx

#endif
