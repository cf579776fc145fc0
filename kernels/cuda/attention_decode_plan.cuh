/*
 * What attention_decode.cu and attention_decode_tiles.cu share beside a warp's work: the queue of a warp's
 * keys, how keys are split over a device, the merge of the splits, and the call's way to its kernel.
 */
#ifndef SX_CUDA_ATTENTION_DECODE_PLAN_CUH
#define SX_CUDA_ATTENTION_DECODE_PLAN_CUH

#include <type_traits>

#include "decode_finite.cuh"

namespace sx {
namespace cuda {
namespace decode {

/* Blocks of a multiprocessor. bf16 of D = 128 has up to 192 KiB under way with three; codes, of which a
 * split has half the bytes, hide its begin and end behind more blocks. */
template <class Element, int kTiles>
constexpr int kResident = kTiles > 1 || !kScaled<Element>      ? 3
                          : std::is_same<Element, int8>::value ? 4
                                                               : 5;
/* Where blocks are no more than two for each multiprocessor, as those of one sequence, they have so many
 * stages: the 256 keys that a split has at least are nearly all under way at once. */
template <class Element>
constexpr int kDeepStages = kScaled<Element> ? 4 : 3;
constexpr int kDeepResident = 2;
/* One sequence alone is split for so many blocks of each multiprocessor. */
constexpr int kSplitResident = 2;

/* The queues of a block's warps: [kWarps][stages][kStageChunks], behind them the scales,
 * [kWarps][stages][kStageScales]; where those of a lane's warp begin. A stage has at least kLeast chunks. */
template <class Element, int kDim, int kLeast = 0, int stages = kStages>
struct Queue {
  static constexpr int kNeeded = PiecesOf<Element, kDim>::kChunks;
  static constexpr int kStageChunks = kNeeded > kLeast ? kNeeded : kLeast;
  static constexpr int kStageScales = kScaled<Element> ? 32 : 0;
  static constexpr int kChunkBytes = kWarps * stages * kStageChunks * 16;
  static constexpr int kBytes = kChunkBytes + kWarps * stages * kStageScales * 4;

  uint4* chunks;
  float* scales;

  __device__ explicit Queue(uint4* memory)
      : chunks(memory + threadIdx.x / 32 * (stages * kStageChunks)),
        scales(reinterpret_cast<float*>(memory) + kChunkBytes / 4 +
               threadIdx.x / 32 * (stages * kStageScales)) {}

  __device__ uint4* stage(int number) const { return chunks + number * kStageChunks; }
  __device__ float* stage_scales(int number) const { return scales + number * kStageScales; }
};

/* The queues, and in their place the states that are merged at the end. */
template <class Queues, int kDim, int kTiles>
constexpr int kSharedBytes = static_cast<int>(max64(Queues::kBytes,
                                                    sizeof(SharedState<kDim, kTiles>)));

/* The keys, values and scales of one head from a sequence's first row on. */
template <class Element>
struct Rows {
  const Element* keys;
  const Element* values;
  const float* key_scales;
  const float* value_scales;
  int64_t stride;

  __device__ Rows(const Decode& decode, int kv_head, int64_t first_row) {
    const int64_t offset = kv_head * decode.head_stride + first_row * decode.token_stride;
    keys = static_cast<const Element*>(decode.keys) + offset;
    values = static_cast<const Element*>(decode.values) + offset;
    stride = decode.token_stride;
    if (!kScaled<Element>) return;
    key_scales = decode.key_scales + kv_head * decode.scale_head_stride + first_row;
    value_scales = decode.value_scales + kv_head * decode.scale_head_stride + first_row;
  }
};

/* Copies 16 keys to a stage, from `first` on and before `end`; one group of copies. */
template <bool kAligned, class Element, int kDim, int kLeast, int kDepth>
__device__ inline void fetch_step(const Queue<Element, kDim, kLeast, kDepth>& queue, int stage,
                                  const Rows<Element>& rows, int64_t first, int64_t end) {
  fetch_keys<PiecesOf<Element, kDim>, kAligned>(queue.stage(stage), rows.keys, rows.values, first,
                                                end, rows.stride);
  if constexpr (kScaled<Element>) {
    fetch_scale(queue.stage_scales(stage) + threadIdx.x % 32, rows.key_scales, rows.value_scales,
                first, end);
  }
  commit_copies();
}

/* Takes 16 keys and values, which lie in these chunks, into a warp's state; `soften_all` makes weights of
 * their logits. */
template <class P, class Element, int kDim, int kTiles, class Soften>
__device__ inline void take_keys(WarpState<kDim, kTiles>& state, const uint4* chunks, Element,
                                 Soften soften_all) {
  float logits[kTiles][4];
  multiply_keys<P>(logits, state.q, chunks, Element{});
  soften_all(logits);
  multiply_values<P>(state.out, logits, chunks + P::kKeyChunks, Element{});
}

/* The keys of one step, which lie in a stage. */
template <class Element, int kDim, int kTiles, int kLeast, int kDepth>
__device__ inline void take_step(WarpState<kDim, kTiles>& state,
                                 const Queue<Element, kDim, kLeast, kDepth>& queue, int stage,
                                 float scale, int64_t first) {
  using P = PiecesOf<Element, kDim>;
  take_keys<P>(state, queue.stage(stage), Element{}, [&](float(&logits)[kTiles][4]) {
    if constexpr (kScaled<Element>) {
      const float4* quads = reinterpret_cast<const float4*>(queue.stage_scales(stage));
      soften_codes(logits, state, quads[threadIdx.x % 32 / 4], scale, first);
    } else {
      soften(logits, state, scale, first);
    }
  });
}

/* The end of a block: what its warps have summed to its split of the working memory. kCleans: returns
 * whether any thread has `cleaned` values. */
template <class P, bool kCleans, int kDim, int kTiles>
__device__ inline bool finish_split(const Decode& decode, const Job& job,
                                    const WarpState<kDim, kTiles>& state, uint4* memory,
                                    bool cleaned) {
  /* The queues' memory is the merge's from here on. */
  wait_copies<0>();
  if constexpr (kCleans) {
    cleaned = __syncthreads_or(cleaned) != 0;
  } else {
    __syncthreads();
  }
  auto& shared = *reinterpret_cast<SharedState<kDim, kTiles>*>(memory);
  store_state<P>(shared, state);
  __syncthreads();
  write_split(decode, shared, job);
  return cleaned;
}

/* Splits that the merge reads before it knows their weights: those of eight key heads on 132
 * multiprocessors. */
constexpr int kMergeAhead = 33;

/* Merges the splits of a row in order: one block a row, a thread an element. A row that is not `valid`
 * gets NaN. */
template <int kDim, class Out>
__device__ inline void merge_splits(const Decode& decode, int splits, bool valid) {
  __shared__ float2 weights[kMostSplits]; /* of a split, and its share of the sum */
  __shared__ float tops[kDim / 32];
  const int64_t rows = gridDim.x, row = blockIdx.x;
  const float* partial = decode.partial + row * kDim + threadIdx.x;
  /* Under way while the splits are weighed. */
  float ahead[kMergeAhead];
#pragma unroll
  for (int split = 0; split < kMergeAhead; split++) {
    ahead[split] = split < splits ? partial[split * rows * kDim] : 0;
  }
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
#pragma unroll
  for (int split = 0; split < kMergeAhead; split++) {
    if (split >= splits) break;
    sum += weights[split].y;
    out += weights[split].x * ahead[split];
  }
#pragma unroll 8
  for (int split = kMergeAhead; split < splits; split++) {
    sum += weights[split].y;
    out += weights[split].x * partial[split * rows * kDim];
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

/* Whether copies of 16 bytes can read all rows: queries and, if it has any, the cache. */
inline bool has_aligned_rows(const sx_attention_decode_params& args) {
  const int64_t bytes = dtype_bytes(args.kv_dtype);
  return is_aligned(args.q) && is_aligned(args.keys) && is_aligned(args.values) &&
         (args.token_stride | args.head_stride) * bytes % 16 == 0;
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
  decode.keys = args.keys;
  decode.values = args.values;
  decode.key_scales = args.key_scales;
  decode.value_scales = args.value_scales;
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
  decode.scale_head_stride = args.scale_head_stride;
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

/* Blocks of the splits and of the merge. */
inline unsigned split_blocks(const Decode& decode) {
  const int kv_heads = decode.q_heads / decode.group;
  return static_cast<unsigned>(decode.splits) * decode.sequences * kv_heads * decode.row_tiles;
}
inline unsigned merge_blocks(const Decode& decode) {
  return static_cast<unsigned>(decode.sequences) * decode.tokens * decode.q_heads;
}

/* Whether some queries of a sequence do not see all keys that are read for it. */
inline bool hides_keys(const Decode& decode) { return decode.causal && decode.tokens > 1; }

/* What a kernel is compiled for: the cache's storage format, the head size, a block's rows / 8. */
template <class Storage, int dim, int tiles>
struct Shape {
  using Element = Storage;
  static constexpr int kDim = dim, kTiles = tiles;
};

template <class Element, class Call>
sx_status with_shape(int64_t head_dim, int64_t row_tile, Call call) {
  if (head_dim == 128) {
    return row_tile == 8 ? call(Shape<Element, 128, 1>{}) : call(Shape<Element, 128, 2>{});
  }
  return row_tile == 8 ? call(Shape<Element, 64, 1>{}) : call(Shape<Element, 64, 2>{});
}

/* Calls with each part of the sequences that one launch takes, their first one, and the shape. */
template <class Call>
sx_status for_parts(Context& context, const char* op, const sx_attention_decode_params& args,
                    Call call) {
  if (args.q_tokens == 0 || args.sequences == 0) return SX_OK;
  const SplitPlan plan = plan_splits(context, args);
  const int64_t rows = plan.sequences * args.q_tokens * args.q_heads;
  float* partial = static_cast<float*>(
      scratch(context, op, max64(1, plan.splits) * rows * (args.head_dim + 2) * 4));
  if (partial == nullptr) return SX_OUT_OF_MEMORY;
  for (int64_t first = 0; first < args.sequences; first += plan.sequences) {
    const Decode decode = part_of(args, plan, first, partial);
    const auto launch = [&](auto shape) { return call(decode, first, shape); };
    SX_RETURN_IF_BAD(args.kv_dtype == SX_I8 ? with_shape<int8>(args.head_dim, plan.row_tile, launch)
                     : args.kv_dtype == SX_F8E4M3
                         ? with_shape<e4m3>(args.head_dim, plan.row_tile, launch)
                         : with_shape<bf16>(args.head_dim, plan.row_tile, launch));
  }
  return SX_OK;
}

}  // namespace decode
}  // namespace cuda
}  // namespace sx

#endif
