/*
 * What one warp of decode attention does (attention_decode.cu): its queries, steps of 16 or 32 keys and
 * values by way of a queue in shared memory (decode_pieces.cuh), online softmax, and the state that it
 * leaves for the block's merge.
 */
#ifndef SX_CUDA_ATTENTION_DECODE_CUH
#define SX_CUDA_ATTENTION_DECODE_CUH

#include "decode_pieces.cuh"
#include "ops.cuh"

namespace sx {
namespace cuda {
namespace decode {

constexpr int kThreads = 128;
constexpr int kWarps = kThreads / 32;
/* Steps of a warp's queue: one in use, the others under way. */
constexpr int kStages = 2;
/* A sequence is split into no more parts than one block of the merge weighs, and none below this, so that a
 * split of a batch is worth its start. */
constexpr int64_t kMostSplits = 256;
constexpr int64_t kLeastShare = 256;

/* How a cache of one storage format is walked. Codes are taken 32 keys at a time: as many bytes are
 * under way as with bf16, and the softmax's work for a step is shared by twice the keys. */
template <class Element>
struct Walk {
  static constexpr bool kScaled = sizeof(Element) == 1;
  /* Groups of 16 keys in a step of a warp. */
  static constexpr int kGroups = kScaled ? 2 : 1;
  static constexpr int kKeys = 16 * kGroups, kBlockKeys = kKeys * kWarps;
  static_assert(kLeastShare % kBlockKeys == 0, "the least share is whole steps of a block");
};
template <class Element, int kDim>
using PiecesOf = Pieces<Element, kDim, Walk<Element>::kScaled>;

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

/* The keys of one sequence and how they are split: those from `low` on, which some query sees. */
struct Range {
  int64_t first_row, count, low, share;
  int splits;
  bool valid;
};

template <int kBlockKeys>
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
  return range;
}

/* Row of a tile to the row of queries and outputs of the sequence, t * HQ + h; -1 if there is none. */
__device__ inline int query_row(const Decode& decode, int kv_head, int row) {
  const int t = row / decode.group;
  return t < decode.tokens ? t * decode.q_heads + kv_head * decode.group + row % decode.group : -1;
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
      const int64_t causal = max64(range.count - decode.tokens + number / decode.group + 1, 0);
      const int64_t end = decode.causal ? causal : range.count;
      const bool has_row = query_row(decode, kv_head, number) >= 0;
      state.end[tile][i] = has_row ? static_cast<int>(end) : 0;
      state.begin[tile][i] =
          decode.window > 0 ? static_cast<int>(max64(end - decode.window, 0)) : 0;
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

/* What a warp has of the keys of a step: logits, then weights, of the keys lane / 4 (the first two numbers)
 * and lane / 4 + 8 of each group by a pair of rows. */
template <int kGroups, int kTiles>
using Logits = float[kGroups][kTiles][4];

/* Online softmax: the logits of one row become weights relative to the new maximum, sums are brought
 * to it. */
template <int kGroups, int kDim, int kTiles>
__device__ inline void absorb(Logits<kGroups, kTiles>& logits, WarpState<kDim, kTiles>& state,
                              int tile, int i) {
  float top = fmaxf(logits[0][tile][i], logits[0][tile][2 + i]);
#pragma unroll
  for (int group = 1; group < kGroups; group++) {
    top = fmaxf(top, fmaxf(logits[group][tile][i], logits[group][tile][2 + i]));
  }
  const float max = fmaxf(state.max[tile][i], column_max(top));
  /* A row that has seen no key yet: any finite maximum gives weights of 0. */
  const float shift = max == -INFINITY ? 0 : max;
  const float factor = fast_exp2(state.max[tile][i] - shift);
  state.max[tile][i] = max;
  float sum = 0;
#pragma unroll
  for (int group = 0; group < kGroups; group++) {
    float &low = logits[group][tile][i], &high = logits[group][tile][2 + i];
    low = fast_exp2(low - shift);
    high = fast_exp2(high - shift);
    sum = group == 0 ? low + high : sum + (low + high);
  }
  state.sum[tile][i] = state.sum[tile][i] * factor + sum;
#pragma unroll
  for (int n = 0; n < kDim / 16; n++) {
    state.out[tile][n][i] *= factor;
    state.out[tile][n][2 + i] *= factor;
  }
}

/* The online softmax of a step's keys from number `first` on, those that a row does not see being
 * hidden. */
template <int kDim, int kTiles>
__device__ inline void soften(Logits<1, kTiles>& logits, WarpState<kDim, kTiles>& state,
                              float scale, int64_t first) {
  const int key = static_cast<int>(first) + threadIdx.x % 32 / 4;
#pragma unroll
  for (int tile = 0; tile < kTiles; tile++) {
#pragma unroll
    for (int i = 0; i < 2; i++) {
      float &low = logits[0][tile][i], &high = logits[0][tile][2 + i];
      const int begin = state.begin[tile][i], end = state.end[tile][i];
      low = key >= begin && key < end ? low * scale : -INFINITY;
      high = key + 8 >= begin && key + 8 < end ? high * scale : -INFINITY;
      absorb(logits, state, tile, i);
    }
  }
}

/* The same of codes: logits are multiplied by their keys' scales, weights by their values'. `scales`
 * are a quad's, as fetch_scale() has copied them, 32 for each group. */
template <int kGroups, int kDim, int kTiles>
__device__ inline void soften_codes(Logits<kGroups, kTiles>& logits, WarpState<kDim, kTiles>& state,
                                    const float* scales, float scale, int64_t first) {
  float by_key[2 * kGroups], by_value[2 * kGroups];
#pragma unroll
  for (int group = 0; group < kGroups; group++) {
    const float4 all = *reinterpret_cast<const float4*>(scales + 32 * group);
    by_key[2 * group] = all.x * scale, by_key[2 * group + 1] = all.y * scale;
    by_value[2 * group] = all.z, by_value[2 * group + 1] = all.w;
  }
  const int key = static_cast<int>(first) + threadIdx.x % 32 / 4;
#pragma unroll
  for (int tile = 0; tile < kTiles; tile++) {
#pragma unroll
    for (int i = 0; i < 2; i++) {
      bool sees[2 * kGroups];
#pragma unroll
      for (int n = 0; n < 2 * kGroups; n++) {
        sees[n] = key + 8 * n >= state.begin[tile][i] && key + 8 * n < state.end[tile][i];
        float& logit = logits[n / 2][tile][n % 2 * 2 + i];
        logit = sees[n] ? logit * by_key[n] : -INFINITY;
      }
      absorb(logits, state, tile, i);
#pragma unroll
      for (int n = 0; n < 2 * kGroups; n++) {
        /* What lies behind a hidden key may be NaN. */
        float& weight = logits[n / 2][tile][n % 2 * 2 + i];
        weight = sees[n] ? weight * by_value[n] : 0;
      }
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
};

/* The sum over the warps, to the split's rows of the working memory. */
template <int kDim, int kTiles>
__device__ inline void write_split(const Decode& decode, const SharedState<kDim, kTiles>& shared,
                                   const Job& job) {
  const int64_t rows = static_cast<int64_t>(decode.tokens) * decode.q_heads;
  const int64_t first = (static_cast<int64_t>(job.split) * decode.sequences + job.sequence) * rows;
  for (int i = threadIdx.x; i < kTiles * 8 * kDim; i += kThreads) {
    const int row = i / kDim, d = i % kDim;
    const int to = query_row(decode, job.kv_head, job.first + row);
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
    decode.partial[(first + to) * kDim + d] = out;
    if (d == 0) decode.states[first + to] = make_float2(max, sum);
  }
}

}  // namespace decode
}  // namespace cuda
}  // namespace sx

#endif
