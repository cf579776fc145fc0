/*
 * Hopper's build of the sums of antidiagonal_score (see antidiagonal_score.cu, which makes mass of
 * them). Needs the target sm_90a.
 *
 * A block of three warpgroups a multiprocessor walks over the pass's tiles of 128 query groups by 256
 * key groups. One thread of the first warpgroup lets the copy engine fetch slices of 64 elements of
 * a group: slice s of query group i is token i*S + S-1-s, of key group j token j*S + s, so that a
 * map with the tokens of a group as a dimension finds each by its coordinates. The other two own 64
 * rows each, 128 sums a thread, and turn a tile's logits into sums of units, while the next tile's
 * slices are under way and the other still multiplies. Four stages of 48 KiB.
 *
 * A tile never crosses from the prefix into the own segment: its rows lie in one map. A unit is 8
 * groups at most, the columns that four threads hold side by side. f32 sums of bf16 products.
 *
 * What is left, on an H200, 131,072 tokens in chunks of 8,192 of the 8B shape: 6.60 ms a layer, the mass
 * included; 6.05 if nothing is copied behind the first stages, 6.28 without exponentials, 5.76 without
 * either, which is all that overlapping more could gain. Pairs of blocks that share the keys' slices by
 * multicast take 8.75 ms.
 */
#include "antidiagonal.cuh"
#include "attention.cuh"
#include "hopper.cuh"
#include "tensor_map.cuh"

namespace sx {
namespace cuda {
namespace antidiagonal {

namespace {

constexpr int kTileLog2 = 8;
constexpr int kColumns = 1 << kTileLog2;
constexpr int kMaxUnitLog2 = 3;
constexpr int kThreads = 3 * kWarpgroup;
constexpr int kStages = 4;
constexpr int kQueryBytes = kTileRows * kBoxRowBytes;
constexpr int kStageBytes = kQueryBytes + kColumns * kBoxRowBytes;
constexpr int kAlignment = 1024; /* of boxes whose chunks are permuted */
constexpr int kShared = kAlignment + kStages * kStageBytes + 2 * kStages * 8;
static_assert(kTileRows == 2 * 64, "a warpgroup's products have 64 rows");
static_assert(kColumns <= 256, "the longest box");
static_assert(kShared <= 227 * 1024, "a block's limit");

/* 64 Ki registers hold 384 threads of 168; the producer gives its up. */
constexpr int kProducerRegisters = 40;
constexpr int kConsumerRegisters = 232;
static_assert(kProducerRegisters + 2 * kConsumerRegisters <= 3 * 168, "");

/* The copy engine's view of a call, and the call. */
struct Params {
  CUtensorMap queries[2], keys[2], prefix[2]; /* see encode_groups */
  int partial_queries, partial_keys;
  Score score;
};

/* Shared memory of a block, by address: stages, each queries and keys, then barriers. */
struct Stages {
  uint32_t base;

  __device__ explicit Stages(unsigned char* memory)
      : base((shared_address(memory) + kAlignment - 1) / kAlignment * kAlignment) {}
  __device__ uint32_t queries(int stage) const { return base + stage * kStageBytes; }
  __device__ uint32_t keys(int stage) const { return queries(stage) + kQueryBytes; }
  __device__ uint32_t full(int stage) const { return base + kStages * kStageBytes + stage * 8; }
  __device__ uint32_t free(int stage) const { return full(kStages + stage); }

  /* By one thread: a full stage is announced by the producer, a free one by each consuming warp. */
  __device__ void init_barriers() const {
    for (int stage = 0; stage < kStages; stage++) {
      init_barrier(full(stage), 1);
      init_barrier(free(stage), 2 * kWarpgroup / 32);
    }
    publish_barriers();
  }
};

/* By one thread: fetches the slices of all tiles in the order in which they are consumed. */
__device__ inline void produce(const Params& params, const Stages& stages, Walk walk) {
  const Score& score = params.score;
  const int tokens = 1 << score.stride_log2;
  RingPlace<kStages> ring;
  Tile tile;
  while (walk.next(score, tile)) {
    const KeyGroups groups(score, tile.column);
    const int query = tile.first_query(score), q_head = tile.q_head(score);
    const int kv_head = score.first_kv + tile.kv_head;
    for (int s = 0; s < tokens; s++) {
      const int token = tokens - 1 - s;
      const CUtensorMap* q_map = &params.queries[token < params.partial_queries ? 0 : 1];
      const CUtensorMap* k_map =
          groups.is_prefix ? &params.prefix[1] : &params.keys[s < params.partial_keys ? 0 : 1];
      for (int d = 0; d < score.head_dim; d += kBoxColumns) {
        wait_phase(stages.free(ring.stage), ring.parity ^ 1);
        const uint32_t full = stages.full(ring.stage);
        arrive_expecting(full, kStageBytes);
        copy_groups(stages.queries(ring.stage), q_map, full, d, token, query, q_head);
        copy_groups(stages.keys(ring.stage), k_map, full, d, s, groups.first, kv_head);
        ring.advance();
      }
    }
  }
}

/* Logits of key groups that a row does not see become -inf; the thread's two rows see `first` and
 * `second` groups of the tile. */
__device__ inline void mask_logits(float (&logits)[kColumns / 2], int first, int second) {
  const int column = threadIdx.x % 4 * 2;
#pragma unroll
  for (int n = 0; n < kColumns / 8; n++) {
#pragma unroll
    for (int i = 0; i < 2; i++) {
      if (n * 8 + i >= first - column) logits[4 * n + i] = -INFINITY;
      if (n * 8 + i >= second - column) logits[4 * n + 2 + i] = -INFINITY;
    }
  }
}

/* Each lane of four gets the sum over the four of the value of its own number. */
__device__ inline float scatter_sum(const float (&values)[4]) {
  const bool odd = threadIdx.x & 1, upper = threadIdx.x & 2;
  float low = odd ? values[1] : values[0], high = odd ? values[3] : values[2];
  low += __shfl_xor_sync(~0u, odd ? values[0] : values[1], 1);
  high += __shfl_xor_sync(~0u, odd ? values[2] : values[3], 1);
  return (upper ? high : low) + __shfl_xor_sync(~0u, upper ? low : high, 2);
}

/* One of the thread's two rows to sums of units; the row's address is that of the tile's first. */
template <int kUnitLog2, int kHalf>
__device__ inline void write_row(float* row, const float (&logits)[kColumns / 2], float scale) {
  const int quad = threadIdx.x % 4;
  float max = -INFINITY;
#pragma unroll
  for (int n = 0; n < kColumns / 8; n++) {
    max = fmaxf(max, fmaxf(logits[4 * n + 2 * kHalf], logits[4 * n + 2 * kHalf + 1]));
  }
  max = quad_max(max);
  const float shift = max == -INFINITY ? 0 : max * scale;
  const auto weight = [&](int n, int i) {
    return fast_exp2(logits[4 * n + 2 * kHalf + i] * scale - shift);
  };
  if constexpr (kUnitLog2 == 3) {
    /* A lane takes eight units side by side. */
    float units[8];
#pragma unroll
    for (int unit = 0; unit < 8; unit++) {
      float pairs[4];
#pragma unroll
      for (int i = 0; i < 4; i++) pairs[i] = weight(8 * i + unit, 0) + weight(8 * i + unit, 1);
      units[unit] = shift + __log2f(scatter_sum(pairs));
    }
    float4* to = reinterpret_cast<float4*>(row + quad * 8);
    to[0] = make_float4(units[0], units[1], units[2], units[3]);
    to[1] = make_float4(units[4], units[5], units[6], units[7]);
  } else {
#pragma unroll
    for (int n = 0; n < kColumns / 8; n++) {
      const float first = weight(n, 0), second = weight(n, 1);
      if constexpr (kUnitLog2 == 0) {
        row[8 * n + 2 * quad] = shift + __log2f(first);
        row[8 * n + 2 * quad + 1] = shift + __log2f(second);
      } else if constexpr (kUnitLog2 == 1) {
        row[4 * n + quad] = shift + __log2f(first + second);
      } else {
        const float pair = first + second;
        const float unit = pair + __shfl_xor_sync(~0u, pair, 1);
        if (quad % 2 == 0) row[2 * n + quad / 2] = shift + __log2f(unit);
      }
    }
  }
}

template <int kUnitLog2>
__device__ inline void consume(const Params& params, const Stages& stages, Walk walk, int group) {
  const Score& score = params.score;
  const int slices = (score.head_dim / kBoxColumns) << score.stride_log2;
  const int row = group * 64 + threadIdx.x % kWarpgroup / 32 * 16 + threadIdx.x % 32 / 4;
  const uint64_t queries = describe_operand(stages.queries(0) + group * 64 * kBoxRowBytes);
  const uint64_t keys = describe_operand(stages.keys(0));
  float logits[kColumns / 2];
  RingPlace<kStages> ring;
  Tile tile;
  while (walk.next(score, tile)) {
    int before = 0;
#pragma unroll 1
    for (int slice = 0; slice < slices; slice++) {
      wait_phase(stages.full(ring.stage), ring.parity);
      pin(logits);
      begin_products();
#pragma unroll
      for (int k = 0; k < kBoxColumns / 16; k++) {
        const int bytes = ring.stage * kStageBytes + k * 32;
        multiply_rows(logits, advance_operand(queries, bytes), advance_operand(keys, bytes),
                      slice + k);
      }
      commit_products();
      wait_products<1>();
      pin(logits);
      if (slice > 0) release(stages.free(before));
      before = ring.stage;
      ring.advance();
    }
    wait_products<0>();
    pin(logits);
    release(stages.free(before));
    const KeyGroups groups(score, tile.column);
    const int seen = score.first_group + tile.first_query(score) + 1 - groups.base;
    if (groups.count < kColumns || seen + group * 64 < kColumns) {
      mask_logits(logits, min(seen + row, groups.count), min(seen + row + 8, groups.count));
    }
    float* to = tile.sums(score) + row * score.width;
    write_row<kUnitLog2, 0>(to, logits, score.scale_log2);
    write_row<kUnitLog2, 1>(to + 8 * score.width, logits, score.scale_log2);
  }
}

template <int kUnitLog2>
__global__ void __launch_bounds__(kThreads, 1)
    sums_hopper_kernel(const __grid_constant__ Params params) {
  extern __shared__ __align__(16) unsigned char memory[];
  const Stages stages(memory);
  if (threadIdx.x == 0) stages.init_barriers();
  __syncthreads();
  const Walk walk(blockIdx.x, gridDim.x);
  /* The same for a whole warp, as the compiler can see. */
  const int warpgroup = __shfl_sync(~0u, static_cast<int>(threadIdx.x) / kWarpgroup, 0);
  if (warpgroup == 0) {
    lower_registers<kProducerRegisters>();
    if (threadIdx.x == 0) produce(params, stages, walk);
  } else {
    raise_registers<kConsumerRegisters>();
    consume<kUnitLog2>(params, stages, walk, warpgroup - 1);
  }
}

template <int kUnitLog2>
sx_status launch(Context& context, const Params& params, const char* op) {
  auto kernel = sums_hopper_kernel<kUnitLog2>;
  SX_RETURN_IF_BAD(allow_shared(context, op, kernel, kShared));
  const unsigned blocks = static_cast<unsigned>(context.multiprocessors);
  kernel<<<blocks, kThreads, kShared, context.stream>>>(params);
  return launched(context, op);
}

}  // namespace

bool fits_hopper(const Context& context, const Score& score, int64_t kv_heads) {
  const int64_t own_tokens =
      score.key_tokens - (static_cast<int64_t>(score.prefix_groups) << score.stride_log2);
  const int heads = static_cast<int>(kv_heads);
  const auto fits = [&](int64_t tokens, int64_t token_stride, int64_t head_stride) {
    return token_stride < (1ll << 39 >> score.stride_log2) &&
           can_be_mapped({nullptr, nullptr, tokens, token_stride, head_stride}, heads);
  };
  return context.hopper && score.window.tokens == 0 && score.aligned && score.scale_log2 >= 0 &&
         fits(own_tokens, score.token_stride, score.head_stride) &&
         fits(score.key_tokens - own_tokens, score.prefix_token_stride, score.prefix_head_stride);
}

void cut_for_hopper(Score& score) {
  score.border = score.prefix_groups;
  score.tile_log2 = kTileLog2;
  score.unit_log2 = score.cell_log2 < kMaxUnitLog2 ? score.cell_log2 : kMaxUnitLog2;
  /* A scale of 0 would make 0 * -inf of a masked logit. */
  score.scale_log2 = score.scale_log2 > kSmallestScale ? score.scale_log2 : kSmallestScale;
}

sx_status make_sums_sm90(Context& context, const Score& score, const char* op) {
  Params params = {};
  params.score = score;
  const int64_t stride = 1ll << score.stride_log2, dim = score.head_dim;
  const int64_t kv_heads = score.q_heads / score.group;
  const int64_t prefix_tokens = score.prefix_groups * stride;
  const GroupView queries = {
      {score.q, score.q_tokens, score.q_heads, score.q_heads * dim, dim}, stride, kTileRows};
  const GroupView keys = {{score.keys, score.key_tokens - prefix_tokens, kv_heads,
                           score.token_stride, score.head_stride},
                          stride,
                          kColumns};
  const GroupView prefix = {{score.prefix_keys, prefix_tokens, kv_heads, score.prefix_token_stride,
                             score.prefix_head_stride},
                            stride,
                            kColumns};
  int none = 0;
  SX_RETURN_IF_BAD(
      encode_groups(context, op, params.queries, params.partial_queries, queries, dim));
  if (keys.tokens.tokens > 0) {
    SX_RETURN_IF_BAD(encode_groups(context, op, params.keys, params.partial_keys, keys, dim));
  }
  if (prefix_tokens > 0) {
    SX_RETURN_IF_BAD(encode_groups(context, op, params.prefix, none, prefix, dim));
  }
  switch (score.unit_log2) {
    case 0:
      return launch<0>(context, params, op);
    case 1:
      return launch<1>(context, params, op);
    case 2:
      return launch<2>(context, params, op);
    default:
      return launch<3>(context, params, op);
  }
}

}  // namespace antidiagonal
}  // namespace cuda
}  // namespace sx
