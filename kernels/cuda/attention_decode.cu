/*
 * Attention of few queries against a long cache (see sx_attention_decode in ../sx_kernels.h), keys
 * split over the device (Flash-Decoding): out[t,h,:] = sum over visible j of softmax(scale * q . k[j])
 * * v[j,:], bf16 products, f32 sums, weights rounded to bf16. Bound by memory: 4*HK*N*D bytes.
 *
 * A block of 4 warps takes up to 16 rows (a row: one query of one of the heads that share a key head,
 * so that they share one read of the keys) and a split of the keys, 16 keys a warp at a time. Keys
 * and values go from memory straight into the fragments of the tensor cores, 16 bytes a lane: a sum
 * over d may run in any order, and so may the columns of the output. A second kernel merges splits.
 *
 * The grid depends on the cache's capacity alone and the splits on the number of keys that the
 * device reads, so that a captured graph stays right while the cache grows.
 * A number of keys outside of the cache, which the host cannot see, gives NaN.
 */
#include "mma.cuh"
#include "ops.cuh"

namespace sx {
namespace cuda {

namespace {

constexpr int kThreads = 128;
constexpr int kWarps = kThreads / 32;
constexpr int kRows = 16;
/* Keys that a warp takes at a time, and all warps of a block. */
constexpr int kKeys = 16;
constexpr int kBlockKeys = kKeys * kWarps;
/* Blocks of a multiprocessor: 8 warps with 8 KiB each under way are far more than memory needs. */
constexpr int kResident = 2;

struct Decode {
  void* out;
  float* lse_log2; /* nullable */
  const bf16* q;
  const bf16* keys;
  const bf16* values;
  const int32_t* key_count;
  float* partial;  /* [splits, T * HQ, D] sums, not divided */
  float2* states;  /* [splits, T * HQ] largest logit and sum, in powers of two */
  int64_t key_capacity, token_stride, head_stride;
  int tokens, q_heads, group, row_tiles, splits;
  sx_dtype out_dtype;
  bool causal;
  float scale_log2;
};

/* The share of every split: whole tiles, the last ones may have none. */
__device__ inline int64_t keys_of_split(const Decode& decode, int64_t count) {
  return round_up(ceil_div(count, decode.splits), kBlockKeys);
}

__device__ inline bool is_valid(const Decode& decode, int64_t count) {
  return count >= 0 && count <= decode.key_capacity;
}

/* Row of a tile to the row t * HQ + h of queries and outputs; -1 if there is none. */
__device__ inline int query_row(const Decode& decode, int kv_head, int row) {
  const int t = row / decode.group;
  return t < decode.tokens ? t * decode.q_heads + kv_head * decode.group + row % decode.group : -1;
}

/* What one warp knows: rows lane/4 and lane/4 + 8. Column 8*n of tile i of a half of 64 columns is
 * the element 64*half + 8*n + i. */
template <int kDim>
struct WarpState {
  uint4 q[2][kDim / 32];
  float out[kDim / 64][8][4];
  float max[2], sum[2]; /* sum: of this lane's columns */
  int64_t visible[2];
};

template <int kDim, bool kAligned>
__device__ inline void load_queries(WarpState<kDim>& state, const Decode& decode, int kv_head,
                                    int row_tile, int64_t count) {
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int half = 0; half < 2; half++) {
    const int number = row_tile * kRows + lane / 4 + half * 8;
    const int row = query_row(decode, kv_head, number);
    const bf16* from = decode.q + static_cast<int64_t>(row < 0 ? 0 : row) * kDim + lane % 4 * 8;
#pragma unroll
    for (int i = 0; i < kDim / 32; i++) {
      state.q[half][i] = row < 0 ? make_uint4(0, 0, 0, 0) : load_raw8(from + 32 * i, kAligned);
    }
    const int t = number / decode.group;
    const int64_t causal = count - decode.tokens + t + 1;
    state.visible[half] = row < 0 ? 0 : decode.causal ? max64(causal, 0) : count;
  }
}

/* The 16 keys from `first` on as the second factor of q . k: two tiles of 8 keys. */
template <int kDim, bool kAligned>
__device__ inline void load_keys(uint4 (&to)[2][kDim / 32], const bf16* keys, int64_t first,
                                 int64_t end, int64_t stride) {
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int tile = 0; tile < 2; tile++) {
    const int64_t key = first + tile * 8 + lane / 4;
#pragma unroll
    for (int i = 0; i < kDim / 32; i++) {
      to[tile][i] = make_uint4(0, 0, 0, 0);
      if (key < end) to[tile][i] = load_raw8(keys + key * stride + lane % 4 * 8 + 32 * i, kAligned);
    }
  }
}

/* Values of the keys 2q, 2q + 1, 2q + 8, 2q + 9 from `first` on, q = lane % 4; of each the eight
 * elements at 64*half + 8*(lane / 4). */
template <int kDim, bool kAligned>
__device__ inline void load_values(uint4 (&to)[kDim / 64][4], const bf16* values, int64_t first,
                                   int64_t end, int64_t stride) {
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int i = 0; i < 4; i++) {
    const int64_t key = first + lane % 4 * 2 + i % 2 + i / 2 * 8;
#pragma unroll
    for (int half = 0; half < kDim / 64; half++) {
      to[half][i] = make_uint4(0, 0, 0, 0);
      if (key < end) {
        to[half][i] = load_raw8(values + key * stride + half * 64 + lane / 4 * 8, kAligned);
      }
    }
  }
}

template <int kDim>
__device__ inline void multiply_keys(float (&logits)[2][4], const WarpState<kDim>& state,
                                     const uint4 (&keys)[2][kDim / 32]) {
#pragma unroll
  for (int tile = 0; tile < 2; tile++) {
#pragma unroll
    for (int i = 0; i < 4; i++) logits[tile][i] = 0;
#pragma unroll
    for (int i = 0; i < kDim / 32; i++) {
      const uint4 &low = state.q[0][i], &high = state.q[1][i], &k = keys[tile][i];
      const uint32_t first[4] = {low.x, high.x, low.y, high.y};
      const uint32_t second[4] = {low.z, high.z, low.w, high.w};
      multiply_add(logits[tile], first, k.x, k.y);
      multiply_add(logits[tile], second, k.z, k.w);
    }
  }
}

/* Online softmax: logits become weights relative to the new maximum, sums are brought to it. */
template <int kDim>
__device__ inline void soften(float (&logits)[2][4], WarpState<kDim>& state, float scale,
                              int64_t first) {
  const int64_t column = first + threadIdx.x % 4 * 2;
#pragma unroll
  for (int half = 0; half < 2; half++) {
    float max = state.max[half];
#pragma unroll
    for (int n = 0; n < 4; n++) {
      float& logit = logits[n / 2][2 * half + n % 2];
      const bool seen = column + n / 2 * 8 + n % 2 < state.visible[half];
      logit = seen ? logit * scale : -INFINITY;
      max = fmaxf(max, logit);
    }
    max = quad_max(max);
    /* A row that has seen no key yet: any finite maximum gives weights of 0. */
    const float shift = max == -INFINITY ? 0 : max;
    const float factor = fast_exp2(state.max[half] - shift);
    state.max[half] = max;
    float sum = 0;
#pragma unroll
    for (int n = 0; n < 4; n++) {
      float& logit = logits[n / 2][2 * half + n % 2];
      logit = fast_exp2(logit - shift);
      sum += logit;
    }
    state.sum[half] = state.sum[half] * factor + sum;
#pragma unroll
    for (int part = 0; part < kDim / 64; part++) {
#pragma unroll
      for (int i = 0; i < 8; i++) {
        state.out[part][i][2 * half] *= factor;
        state.out[part][i][2 * half + 1] *= factor;
      }
    }
  }
}

template <int kDim>
__device__ inline void multiply_values(WarpState<kDim>& state, const float (&weights)[2][4],
                                       const uint4 (&values)[kDim / 64][4]) {
  const uint32_t a[4] = {pack_bf16(weights[0][0], weights[0][1]),
                         pack_bf16(weights[0][2], weights[0][3]),
                         pack_bf16(weights[1][0], weights[1][1]),
                         pack_bf16(weights[1][2], weights[1][3])};
#pragma unroll
  for (int half = 0; half < kDim / 64; half++) {
    uint32_t words[4][4];
#pragma unroll
    for (int key = 0; key < 4; key++) {
      const uint4& value = values[half][key];
      words[key][0] = value.x, words[key][1] = value.y;
      words[key][2] = value.z, words[key][3] = value.w;
    }
#pragma unroll
    for (int i = 0; i < 8; i++) {
      /* Element i of the first and the second key of a pair, side by side. */
      const unsigned selector = i % 2 == 0 ? 0x5410 : 0x7632;
      multiply_add(state.out[half][i], a,
                   __byte_perm(words[0][i / 2], words[1][i / 2], selector),
                   __byte_perm(words[2][i / 2], words[3][i / 2], selector));
    }
  }
}

/* What the warps of a block leave for its merge. */
template <int kDim>
struct SharedState {
  float out[kWarps][kRows][kDim];
  float2 states[kWarps][kRows];
};

template <int kDim>
__device__ inline void store_state(SharedState<kDim>& shared, const WarpState<kDim>& state) {
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
#pragma unroll
  for (int half = 0; half < 2; half++) {
    const int row = lane / 4 + half * 8;
    const float sum = quad_sum(state.sum[half]);
    if (lane % 4 == 0) shared.states[warp][row] = make_float2(state.max[half], sum);
    float* to = shared.out[warp][row] + lane % 4 * 16;
#pragma unroll
    for (int part = 0; part < kDim / 64; part++) {
#pragma unroll
      for (int i = 0; i < 8; i++) {
        to[part * 64 + i] = state.out[part][i][2 * half];
        to[part * 64 + 8 + i] = state.out[part][i][2 * half + 1];
      }
    }
  }
}

/* The weight of a state relative to the largest logit of all. */
__device__ inline float weight_of(float2 state, float max) {
  return state.x == -INFINITY ? 0 : fast_exp2(state.x - max);
}

/* The sum over the warps, to the split's rows of the working memory. */
template <int kDim>
__device__ inline void write_split(const Decode& decode, const SharedState<kDim>& shared,
                                   int kv_head, int row_tile, int split) {
  const int64_t rows = static_cast<int64_t>(decode.tokens) * decode.q_heads;
  for (int i = threadIdx.x; i < kRows * kDim; i += kThreads) {
    const int row = i / kDim, d = i % kDim;
    const int to = query_row(decode, kv_head, row_tile * kRows + row);
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
    decode.partial[(split * rows + to) * kDim + d] = out;
    if (d == 0) decode.states[split * rows + to] = make_float2(max, sum);
  }
}

template <int kDim, bool kAligned>
__global__ void __launch_bounds__(kThreads, kResident)
decode_kernel(const __grid_constant__ Decode decode) {
  __shared__ SharedState<kDim> shared;
  const int64_t count = *decode.key_count;
  /* Splits are outermost, so that the rows of a split meet in the cache. */
  const int tiles = static_cast<int>(gridDim.x) / decode.splits;
  const int split = static_cast<int>(blockIdx.x) / tiles;
  const int tile = static_cast<int>(blockIdx.x) % tiles;
  const int kv_head = tile / decode.row_tiles, row_tile = tile % decode.row_tiles;
  const int64_t share = keys_of_split(decode, count);
  const int64_t begin = split * share, end = min64(begin + share, count);
  if (!is_valid(decode, count) || begin >= end) return;
  WarpState<kDim> state = {};
  state.max[0] = state.max[1] = -INFINITY;
  load_queries<kDim, kAligned>(state, decode, kv_head, row_tile, count);
  const bf16* keys = decode.keys + kv_head * decode.head_stride;
  const bf16* values = decode.values + kv_head * decode.head_stride;
  int64_t first = begin + threadIdx.x / 32 * kKeys;
  uint4 key_tile[2][kDim / 32], value_tile[kDim / 64][4];
  load_keys<kDim, kAligned>(key_tile, keys, first, end, decode.token_stride);
  for (; first < end; first += kBlockKeys) {
    load_values<kDim, kAligned>(value_tile, values, first, end, decode.token_stride);
    float logits[2][4];
    multiply_keys(logits, state, key_tile);
    /* The next keys travel while these values are waited for and used. */
    load_keys<kDim, kAligned>(key_tile, keys, first + kBlockKeys, end, decode.token_stride);
    soften(logits, state, decode.scale_log2, first);
    multiply_values(state, logits, value_tile);
  }
  store_state(shared, state);
  __syncthreads();
  write_split(decode, shared, kv_head, row_tile, split);
}

/* One block a row, a thread an element. */
template <int kDim, class Out>
__global__ void __launch_bounds__(kDim)
merge_splits_kernel(const __grid_constant__ Decode decode) {
  const int64_t rows = gridDim.x, row = blockIdx.x, count = *decode.key_count;
  const bool valid = is_valid(decode, count);
  const int64_t splits = valid && count > 0 ? ceil_div(count, keys_of_split(decode, count)) : 0;
  float max = -INFINITY;
  for (int64_t split = 0; split < splits; split++) {
    max = fmaxf(max, decode.states[split * rows + row].x);
  }
  float sum = 0, out = 0;
#pragma unroll 4
  for (int64_t split = 0; split < splits; split++) {
    const float2 state = decode.states[split * rows + row];
    const float weight = weight_of(state, max);
    sum += weight * state.y;
    out += weight * decode.partial[(split * rows + row) * kDim + threadIdx.x];
  }
  const float inverse = !valid ? __uint_as_float(0x7fc00000u) : sum == 0 ? 0 : 1 / sum;
  put(static_cast<Out*>(decode.out) + row * kDim + threadIdx.x, out * inverse);
  if (threadIdx.x != 0 || decode.lse_log2 == nullptr) return;
  decode.lse_log2[row] = !valid ? inverse : sum == 0 ? -INFINITY : max + log2f(sum);
}

template <int kDim>
sx_status launch(Context& context, const Decode& decode, bool aligned) {
  const char* op = "attend to the cache";
  const int kv_heads = decode.q_heads / decode.group;
  const unsigned grid = static_cast<unsigned>(decode.splits) * kv_heads * decode.row_tiles;
  const unsigned rows = static_cast<unsigned>(decode.tokens) * decode.q_heads;
  auto kernel = aligned ? decode_kernel<kDim, true> : decode_kernel<kDim, false>;
  kernel<<<grid, kThreads, 0, context.stream>>>(decode);
  SX_RETURN_IF_BAD(launched(context, op));
  auto merge = decode.out_dtype == SX_BF16 ? merge_splits_kernel<kDim, bf16>
                                           : merge_splits_kernel<kDim, float>;
  merge<<<rows, kDim, 0, context.stream>>>(decode);
  return launched(context, op);
}

}  // namespace

sx_status attention_decode(Context& context, const DecodeArgs& args) {
  if (args.q_tokens == 0) return SX_OK;
  const int64_t group = args.q_heads / args.kv_heads;
  const int64_t row_tiles = ceil_div(args.q_tokens * group, kRows);
  const int64_t rows = args.q_tokens * args.q_heads;
  const int64_t split_bytes = rows * (args.head_dim + 2) * 4;
  /* Enough blocks to fill the device once, none without a key, and working memory for them. */
  const int64_t fill = context.multiprocessors * kResident / (args.kv_heads * row_tiles);
  const int64_t room = kFirstScratchBytes / split_bytes;
  const int64_t splits =
      max64(1, min64(min64(fill, room), ceil_div(args.key_capacity, kBlockKeys)));
  float* partial = static_cast<float*>(
      scratch(context, "attend to the cache", splits * split_bytes));
  if (partial == nullptr) return SX_OUT_OF_MEMORY;
  const Decode decode = {args.out,
                         args.lse_log2,
                         static_cast<const bf16*>(args.q),
                         static_cast<const bf16*>(args.keys),
                         static_cast<const bf16*>(args.values),
                         args.key_count,
                         partial,
                         reinterpret_cast<float2*>(partial + splits * rows * args.head_dim),
                         args.key_capacity,
                         args.token_stride,
                         args.head_stride,
                         static_cast<int>(args.q_tokens),
                         static_cast<int>(args.q_heads),
                         static_cast<int>(group),
                         static_cast<int>(row_tiles),
                         static_cast<int>(splits),
                         args.out_dtype,
                         args.causal,
                         args.scale * 1.44269504088896341f};
  const bool aligned = is_aligned(args.q) && is_aligned(args.keys) && is_aligned(args.values) &&
                       (args.token_stride | args.head_stride) % 8 == 0;
  return args.head_dim == 128 ? launch<128>(context, decode, aligned)
                              : launch<64>(context, decode, aligned);
}

}  // namespace cuda
}  // namespace sx
