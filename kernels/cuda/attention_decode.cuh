/*
 * What one warp of decode attention does (attention_decode.cu): its queries, steps of 16 keys and
 * values by way of a queue in shared memory (decode_pieces.cuh), online softmax, and the state that it
 * leaves for the block's merge.
 */
#ifndef SX_CUDA_ATTENTION_DECODE_CUH
#define SX_CUDA_ATTENTION_DECODE_CUH

#include <limits.h>

#include "decode_pieces.cuh"
#include "ops.cuh"

namespace sx {
namespace cuda {
namespace decode {

constexpr int kThreads = 128;
constexpr int kWarps = kThreads / 32;
/* Keys that a warp takes at a time, and all warps of a block. */
constexpr int kKeys = 16;
constexpr int kBlockKeys = kKeys * kWarps;
/* Steps of a warp's queue: one in use, the others under way. */
constexpr int kStages = 2;
/* A sequence is split into no more parts than one block of the merge weighs, and none below this, so that a
 * split of a batch is worth its start. */
constexpr int64_t kMostSplits = 256;
constexpr int64_t kLeastShare = 256;

/* Whether keys have scales. */
template <class Element>
constexpr bool kScaled = sizeof(Element) == 1;
template <class Element, int kDim>
using PiecesOf = Pieces<Element, kDim, kScaled<Element>>;

struct Decode {
  void* out;
  float* lse_log2; /* nullable */
  const bf16* q;
  const void* keys;
  const void* values;
  const float* key_scales; /* null unless keys are codes */
  const float* value_scales;
  const int32_t* first_row; /* nullable */
  const int32_t* key_count;
  float* partial; /* [splits, sequences * T * HQ, D] sums, not divided */
  float2* states; /* [splits, sequences * T * HQ] largest logit and sum, in powers of two */
  int64_t cache_rows, most_keys, window, token_stride, head_stride, scale_head_stride;
  int sequences, tokens, q_heads, group, row_tiles, splits, split_limit;
  sx_dtype out_dtype;
  bool causal;
  float scale_log2;
};

/* The keys of one sequence and how they are split: those from `low` on, which some query sees. Steps that
 * begin from whole_first to whole_last have no key that a query does not see. */
struct Range {
  int64_t first_row, count, low, share;
  int splits, whole_first, whole_last;
  bool valid;
};

__device__ inline Range range_of(const Decode& decode, int sequence) {
  Range range;
  range.first_row = decode.first_row == nullptr ? 0 : decode.first_row[sequence];
  range.count = decode.key_count[sequence];
  range.valid = range.first_row >= 0 && range.count >= 0 && range.count <= decode.most_keys &&
                range.first_row + range.count <= decode.cache_rows;
  const int64_t first_end = decode.causal ? range.count - decode.tokens + 1 : range.count;
  range.low = decode.window > 0 ? max64(0, first_end - decode.window) : 0;
  const int64_t seen = range.valid ? range.count - range.low : 0;
  range.share = max64(kLeastShare, round_up(ceil_div(seen, decode.split_limit), kBlockKeys));
  range.splits = static_cast<int>(ceil_div(seen, range.share));
  range.whole_first =
      decode.window > 0 ? static_cast<int>(max64(0, range.count - decode.window)) : 0;
  range.whole_last = first_end < range.count ? static_cast<int>(first_end) - kKeys : INT_MAX;
  return range;
}

/* Row of a tile to the row of queries and outputs of the sequence, t * HQ + h; -1 if there is none. */
__device__ inline int query_row(const Decode& decode, int kv_head, int row) {
  const int t = row / decode.group;
  return t < decode.tokens ? t * decode.q_heads + kv_head * decode.group + row % decode.group : -1;
}

/* The keys that a row sees, counted over the queries of one key head. */
struct Visible {
  int64_t begin, end;
};
__device__ inline Visible visible_of(const Decode& decode, int64_t count, int row) {
  const int64_t causal = max64(count - decode.tokens + row / decode.group + 1, 0);
  const int64_t end = decode.causal ? causal : count;
  return {decode.window > 0 ? max64(end - decode.window, 0) : 0, end};
}

/* What one warp knows of kTiles * 8 rows, whose elements lie in the order of the Pieces: of output tile n
 * of a run of values numbers 0 and 1 are element 2 * n, the others the next; the rows are 2 * (lane % 4) and
 * the next. */
template <int kDim, int kTiles>
struct WarpState {
  uint4 q[kTiles][kDim / 32];
  float out[kTiles][kDim / 16][4];
  float max[kTiles][2], sum[kTiles][2]; /* sum: of this lane's keys */
  int begin[kTiles][2], end[kTiles][2]; /* the visible keys */
};

template <class P, bool kAligned, int kDim, int kTiles>
__device__ inline void load_queries(WarpState<kDim, kTiles>& state, const Decode& decode,
                                    const bf16* q, int kv_head, int first, const Range& range) {
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int tile = 0; tile < kTiles; tile++) {
    const int row = query_row(decode, kv_head, first + tile * 8 + lane / 4);
    const bf16* from = q + static_cast<int64_t>(row < 0 ? 0 : row) * kDim + lane % 4 * P::kKeyRun;
#pragma unroll
    for (int i = 0; i < kDim / 32; i++) {
      constexpr int kParts = P::kKeyRun / 8;
      const int at = i / kParts * (4 * P::kKeyRun) + i % kParts * 8;
      state.q[tile][i] = row < 0 ? make_uint4(0, 0, 0, 0) : load_raw8(from + at, kAligned);
    }
#pragma unroll
    for (int i = 0; i < 2; i++) {
      const int number = first + tile * 8 + lane % 4 * 2 + i;
      const Visible visible = visible_of(decode, range.count, number);
      const bool has_row = query_row(decode, kv_head, number) >= 0;
      state.end[tile][i] = has_row ? static_cast<int>(visible.end) : 0;
      state.begin[tile][i] = static_cast<int>(visible.begin);
      state.max[tile][i] = -INFINITY;
    }
  }
}

/* The largest value and the sum over the eight lanes that hold the keys of a pair of rows. */
__device__ inline float column_max(float value) {
#pragma unroll
  for (int lane = 4; lane < 32; lane *= 2) {
    value = fmaxf(value, __shfl_xor_sync(~0u, value, lane));
  }
  return value;
}
__device__ inline float column_sum(float value) {
#pragma unroll
  for (int lane = 4; lane < 32; lane *= 2) value += __shfl_xor_sync(~0u, value, lane);
  return value;
}

/* Online softmax: two logits of one row become weights relative to the new maximum, sums are brought
 * to it. */
template <int kDim, int kTiles>
__device__ inline void absorb(float& low, float& high, WarpState<kDim, kTiles>& state, int tile,
                              int i) {
  const float max = fmaxf(state.max[tile][i], column_max(fmaxf(low, high)));
  /* A row that has seen no key yet: any finite maximum gives weights of 0. */
  const float shift = max == -INFINITY ? 0 : max;
  const float factor = fast_exp2(state.max[tile][i] - shift);
  state.max[tile][i] = max;
  low = fast_exp2(low - shift);
  high = fast_exp2(high - shift);
  state.sum[tile][i] = state.sum[tile][i] * factor + (low + high);
#pragma unroll
  for (int n = 0; n < kDim / 16; n++) {
    state.out[tile][n][i] *= factor;
    state.out[tile][n][2 + i] *= factor;
  }
}

/* The online softmax of 16 keys from number `first` on, those that a row does not see being hidden. */
template <int kDim, int kTiles>
__device__ inline void soften(float (&logits)[kTiles][4], WarpState<kDim, kTiles>& state,
                              float scale, int64_t first) {
  const int key = static_cast<int>(first) + threadIdx.x % 32 / 4;
#pragma unroll
  for (int tile = 0; tile < kTiles; tile++) {
#pragma unroll
    for (int i = 0; i < 2; i++) {
      float &low = logits[tile][i], &high = logits[tile][2 + i];
      const int begin = state.begin[tile][i], end = state.end[tile][i];
      low = key >= begin && key < end ? low * scale : -INFINITY;
      high = key + 8 >= begin && key + 8 < end ? high * scale : -INFINITY;
      absorb(low, high, state, tile, i);
    }
  }
}

/* The same of codes: logits are multiplied by their keys' scales, weights by their values'. `scales` are
 * the lane's quad's, as fetch_scale() has copied them. */
template <int kDim, int kTiles>
__device__ inline void soften_codes(float (&logits)[kTiles][4], WarpState<kDim, kTiles>& state,
                                    float4 scales, float scale, int64_t first) {
  const int key = static_cast<int>(first) + threadIdx.x % 32 / 4;
  scales.x *= scale;
  scales.y *= scale;
#pragma unroll
  for (int tile = 0; tile < kTiles; tile++) {
#pragma unroll
    for (int i = 0; i < 2; i++) {
      float &low = logits[tile][i], &high = logits[tile][2 + i];
      const int begin = state.begin[tile][i], end = state.end[tile][i];
      const bool sees_low = key >= begin && key < end;
      const bool sees_high = key + 8 >= begin && key + 8 < end;
      low = sees_low ? low * scales.x : -INFINITY;
      high = sees_high ? high * scales.y : -INFINITY;
      absorb(low, high, state, tile, i);
      /* The scale of a hidden value may be NaN. */
      low = sees_low ? low * scales.z : 0;
      high = sees_high ? high * scales.w : 0;
    }
  }
}

/* What the warps of a block leave for its merge; rows one word longer than used, so that lanes
 * write to different banks. */
template <int kDim, int kTiles>
struct SharedState {
  float out[kWarps][kTiles * 8][kDim + 1];
  float2 states[kWarps][kTiles * 8];
};

template <class P, int kDim, int kTiles>
__device__ inline void store_state(SharedState<kDim, kTiles>& shared,
                                   const WarpState<kDim, kTiles>& state) {
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
#pragma unroll
  for (int tile = 0; tile < kTiles; tile++) {
#pragma unroll
    for (int i = 0; i < 2; i++) {
      const int row = tile * 8 + lane % 4 * 2 + i;
      const float sum = column_sum(state.sum[tile][i]);
      if (lane / 4 == 0) shared.states[warp][row] = make_float2(state.max[tile][i], sum);
#pragma unroll
      for (int n = 0; n < kDim / 16; n++) {
        constexpr int kRun = P::kValueRun;
        float* to = shared.out[warp][row] + n / (kRun / 2) * (8 * kRun) + lane / 4 * kRun +
                    n % (kRun / 2) * 2;
        to[0] = state.out[tile][n][i];
        to[1] = state.out[tile][n][2 + i];
      }
    }
  }
}

/* The weight of a state relative to the largest logit of all. */
__device__ inline float weight_of(float2 state, float max) {
  return state.x == -INFINITY ? 0 : fast_exp2(state.x - max);
}

/* What a block computes: a split of a sequence's keys for some rows of one key head. */
struct Job {
  int split, sequence, kv_head, first; /* first: row of the first tile */

  /* Splits are outermost, so that the row tiles of a split meet in the cache. */
  __device__ Job(const Decode& decode, int rows) {
    const unsigned heads = decode.q_heads / decode.group;
    const unsigned tile = blockIdx.x / decode.row_tiles, pair = tile / heads;
    split = static_cast<int>(pair / decode.sequences);
    sequence = static_cast<int>(pair % decode.sequences);
    kv_head = static_cast<int>(tile % heads);
    first = static_cast<int>(blockIdx.x % decode.row_tiles) * rows;
  }
};

/* A row's place in the working memory of the splits; below 0 if there is no such row. */
__device__ inline int64_t split_row(const Decode& decode, const Job& job, int row) {
  const int at = query_row(decode, job.kv_head, row);
  const int64_t rows = static_cast<int64_t>(decode.tokens) * decode.q_heads;
  return at < 0 ? at : (int64_t{job.split} * decode.sequences + job.sequence) * rows + at;
}

/* The sum over the warps, to the split's rows of the working memory. */
template <int kDim, int kTiles>
__device__ inline void write_split(const Decode& decode, const SharedState<kDim, kTiles>& shared,
                                   const Job& job) {
  for (int i = threadIdx.x; i < kTiles * 8 * kDim; i += kThreads) {
    const int row = i / kDim, d = i % kDim;
    const int64_t to = split_row(decode, job, job.first + row);
    if (to < 0) continue;
    float max = -INFINITY;
#pragma unroll
    for (int warp = 0; warp < kWarps; warp++) max = fmaxf(max, shared.states[warp][row].x);
    float sum = 0, out = 0;
#pragma unroll
    for (int warp = 0; warp < kWarps; warp++) {
      const float weight = weight_of(shared.states[warp][row], max);
      sum += weight * shared.states[warp][row].y;
      out += weight * shared.out[warp][row][d];
    }
    decode.partial[to * kDim + d] = out;
    if (d == 0) decode.states[to] = make_float2(max, sum);
  }
}

}  // namespace decode
}  // namespace cuda
}  // namespace sx

#endif
