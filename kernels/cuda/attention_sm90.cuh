/*
 * The kernel of dense and block-sparse attention on Hopper (compute capability 9.0): flash style with
 * the producer, the pipelines and the overlap of FlashAttention-3 (arXiv 2407.08608).
 *
 * A block of three warpgroups owns 128 queries of one head. One thread of the first warpgroup lets the
 * copy engine fetch the queries once, and tiles of 128 keys and of 128 values into rings of shared
 * memory; the other two own 64 queries each. A warpgroup starts the products of its queries with the
 * next keys, then those of the weights with the values before; while they run it turns the logits
 * into weights. The two take turns in starting products, so that one's softmax runs under the
 * other's products. Only tiles that the diagonal or the end of a segment crosses are masked;
 * the idle warps of the first warpgroup clean their values (see attention_finite.cuh) before the
 * others learn that they are there, as any branch for it in the loop over tiles costs 5 to 9 %.
 * Blocks that take one row of tiles after the other, with the next one's queries and keys fetched
 * early, were slower, too: 0.92 instead of 0.85 ms at 8,192 tokens, 30.0 instead of 26.5 ms for the
 * last 8,192 of 131,072 (H200).
 *
 * f32 sums of bf16 products, weights rounded to bf16. Shared memory: at head size 128 queries 32 KiB
 * and three stages of 64 KiB, at 64 half of that each and four stages. Device memory is read once for
 * each block of queries, mostly from the L2 cache. FLOPs 4*D per visible pair and head.
 *
 * Which calls come here is decided by layout: rows and strides of 16 bytes (fits_hopper).
 */
#ifndef SX_CUDA_ATTENTION_SM90_CUH
#define SX_CUDA_ATTENTION_SM90_CUH

#include "attention_sm90_parts.cuh"
#include "tensor_map.cuh"

namespace sx {
namespace cuda {

/* What a thread holds of its warpgroup's 64 rows: parts of two rows. */
template <int kDim>
struct ConsumerState {
  float out[kDim / 2];
  float logits[kHopperKeys / 2];
  uint32_t weights[kHopperKeys / 16][4];
  float max[2]; /* of the logits before scaling */
  float sum[2]; /* of this thread's columns */
};

/* Starts logits = queries . keys. */
template <int kDim>
__device__ inline void start_logits(ConsumerState<kDim>& state, uint64_t queries, uint64_t keys) {
  using Shared = HopperShared<kDim>;
  pin(state.logits);
  begin_products();
#pragma unroll
  for (int k = 0; k < kDim / 16; k++) {
    const int bytes = k / 4 * Shared::kBoxBytes + k % 4 * 32;
    const uint64_t a = advance_operand(queries, bytes), b = advance_operand(keys, bytes);
    if (k == 0) {
      multiply_rows<false>(state.logits, a, b);
    } else {
      multiply_rows<true>(state.logits, a, b);
    }
  }
  commit_products();
}

/* Starts out += weights . values. */
template <int kDim>
__device__ inline void start_out(ConsumerState<kDim>& state, uint64_t values) {
  pin(state.weights);
  pin(state.out);
  begin_products();
#pragma unroll
  for (int k = 0; k < kHopperKeys / 16; k++) {
    multiply_columns(state.out, state.weights[k], advance_operand(values, k * 16 * kBoxRowBytes));
  }
  commit_products();
}

/* Logits of keys that a row does not see become -inf; the thread's two rows see `first` and `second`
 * keys of the tile. */
__device__ inline void mask_tile(float (&logits)[kHopperKeys / 2], int first, int second) {
  const int column = threadIdx.x % 4 * 2;
#pragma unroll
  for (int n = 0; n < kHopperKeys / 8; n++) {
#pragma unroll
    for (int i = 0; i < 2; i++) {
      if (n * 8 + i >= first - column) logits[4 * n + i] = -INFINITY;
      if (n * 8 + i >= second - column) logits[4 * n + 2 + i] = -INFINITY;
    }
  }
}

/* Online softmax: logits become weights relative to the new maximum; factor brings what was summed
 * before to it. */
template <int kDim>
__device__ inline void soften_tile(ConsumerState<kDim>& state, float (&factor)[2], float scale) {
#pragma unroll
  for (int half = 0; half < 2; half++) {
    float max = state.max[half];
#pragma unroll
    for (int n = 0; n < kHopperKeys / 8; n++) {
      max = fmaxf(max, fmaxf(state.logits[4 * n + 2 * half], state.logits[4 * n + 2 * half + 1]));
    }
    max = quad_max(max);
    /* A row that has seen no key yet: any finite maximum gives weights of 0. */
    const float shift = max == -INFINITY ? 0 : max * scale;
    factor[half] = fast_exp2(state.max[half] * scale - shift);
    state.max[half] = max;
    float sum = 0;
#pragma unroll
    for (int n = 0; n < kHopperKeys / 8; n++) {
#pragma unroll
      for (int i = 4 * n + 2 * half; i < 4 * n + 2 * half + 2; i++) {
        state.logits[i] = fast_exp2(state.logits[i] * scale - shift);
        sum += state.logits[i];
      }
    }
    state.sum[half] = state.sum[half] * factor[half] + sum;
  }
}

/* The accumulator's layout is that of A in registers, 16 columns being two times 8. */
template <int kDim>
__device__ inline void pack_weights(ConsumerState<kDim>& state) {
#pragma unroll
  for (int k = 0; k < kHopperKeys / 16; k++) {
#pragma unroll
    for (int i = 0; i < 4; i++) {
      state.weights[k][i] = pack_bf16(state.logits[8 * k + 2 * i], state.logits[8 * k + 2 * i + 1]);
    }
  }
}

template <int kDim>
__device__ inline void write_tile(const AttentionParams& params, const HopperJob& job,
                                  const ConsumerState<kDim>& state, int row_in_block) {
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int half = 0; half < 2; half++) {
    const float sum = quad_sum(state.sum[half]);
    const int64_t t = static_cast<int64_t>(job.q_block) * kRowBlock + row_in_block + half * 8;
    if (t >= params.q_tokens) continue;
    const int64_t row = t * params.q_heads + job.head;
    /* NaN stays NaN. */
    const float inverse = sum == 0 ? 0 : 1 / sum;
#pragma unroll
    for (int n = 0; n < kDim / 8; n++) {
      put_pair(params.out, params.out_dtype, row * kDim + n * 8 + lane % 4 * 2,
               state.out[4 * n + 2 * half] * inverse, state.out[4 * n + 2 * half + 1] * inverse,
               true);
    }
    if (params.lse_log2 != nullptr && lane % 4 == 0) {
      params.lse_log2[row] =
          sum == 0 ? -INFINITY : state.max[half] * params.scale_log2 + log2f(sum);
    }
  }
}

template <int kDim, bool kSparse>
struct Consumer {
  using Shared = HopperShared<kDim>;
  using KeyWalk = TileWalk<kHopperKeys, kSparse>;
  /* Barriers of the turns; 0 is the block's. */
  static constexpr int kFirstTurn = 1;

  const Shared& shared;
  const KeyWalk& walk;
  const int64_t first_seen;
  const int group; /* which consumer */
  ConsumerState<kDim> state;
  RingPlace<Shared::kStages> keys, values;
  TileSight sight;                                 /* of the tile of keys */
  const uint64_t query_rows, key_rows, value_rows; /* of the first stage */

  __device__ Consumer(const Shared& shared, const KeyWalk& walk, int64_t first_seen, int group)
      : shared(shared),
        walk(walk),
        first_seen(first_seen),
        group(group),
        state(),
        sight(),
        query_rows(describe_operand(shared.queries() + group * 64 * kBoxRowBytes)),
        key_rows(describe_operand(shared.keys(0))),
        value_rows(describe_operand(shared.values(0), Shared::kBoxBytes)) {
    state.max[0] = state.max[1] = -INFINITY;
  }

  __device__ int row() const {
    return group * 64 + threadIdx.x % kWarpgroup / 32 * 16 + threadIdx.x % 32 / 4;
  }
  __device__ void take_turn() const { sync_named(kFirstTurn + group, 2 * kWarpgroup); }
  __device__ void pass_turn() const { arrive_named(kFirstTurn + 1 - group, 2 * kWarpgroup); }

  /* Masks the logits where some row does not see all keys. */
  __device__ void mask() {
    if (sight.count >= kHopperKeys && sight.seen + group * 64 >= kHopperKeys) return;
    const int count = max(0, sight.count);
    mask_tile(state.logits, min(sight.seen + row(), count), min(sight.seen + row() + 8, count));
  }

  __device__ void await_keys() const { wait_phase(shared.keys_full(keys.stage), keys.parity); }
  __device__ void start_tile() {
    start_logits(state, query_rows, advance_operand(key_rows, keys.stage * Shared::kTileBytes));
  }
  __device__ void start_sums() {
    wait_phase(shared.values_full(values.stage), values.parity);
    start_out(state, advance_operand(value_rows, values.stage * Shared::kTileBytes));
  }

  /* Logits of tile n to weights, once the products that make them are done. */
  __device__ void soften(float (&factor)[2], float scale, int n) {
    pin(state.logits);
    release(shared.keys_free(keys.stage));
    const bool more = n + 1 < walk.tiles;
    mask();
    /* Of the next tile: a list's number has arrived when the weights are done. */
    if (more) sight = TileSight::of(walk, first_seen, n + 1);
    soften_tile(state, factor, scale);
    /* Here rather than where the next tile begins: a loop stands between the weights and what waits
     * for the sums, so that the compiler does not wait before it makes the weights. */
    if (!more) return;
    keys.advance();
    await_keys();
  }

  /* The first tile has nothing to overlap with. */
  __device__ void first_tile(float scale) {
    sight = TileSight::of(walk, first_seen, 0);
    wait_phase(shared.queries_full(), 0);
    await_keys();
    start_tile();
    wait_products<0>();
    float factor[2];
    soften(factor, scale, 0);
    pack_weights(state);
  }

  /* Logits of tile n, and the sums of the tile before. */
  __device__ void next_tile(float scale, int n) {
    take_turn();
    start_tile();
    start_sums();
    pass_turn();
    wait_products<1>();
    float factor[2];
    soften(factor, scale, n);
    wait_products<0>();
    pin(state.out);
    pin(state.weights);
    release(shared.values_free(values.stage));
    values.advance();
    pack_weights(state);
#pragma unroll
    for (int i = 0; i < kDim / 2; i++) state.out[i] *= factor[i / 2 % 2];
  }

  __device__ void run(const AttentionParams& params, const HopperJob& job) {
    if (group == 1) pass_turn(); /* the other begins */
    if (walk.tiles > 0) {
      first_tile(params.scale_log2);
#pragma unroll 1
      for (int n = 1; n < walk.tiles; n++) next_tile(params.scale_log2, n);
      start_sums();
      wait_products<0>();
      pin(state.out);
    }
    if (group == 0) take_turn(); /* so that no turn is left over */
    write_tile(params, job, state, row());
    arrive_named(kWritten, kWrittenThreads);
  }
};

template <int kDim, bool kSparse>
__global__ void __launch_bounds__(kHopperThreads, 1)
    attention_hopper_kernel(const __grid_constant__ HopperParams params) {
  extern __shared__ __align__(16) unsigned char memory[];
  const HopperShared<kDim> shared(memory);
  const HopperJob job(params, blockIdx.x);
  if (threadIdx.x == 0) shared.init_barriers();
  __syncthreads();
  /* The same for a whole warp, as the compiler can see. */
  const int warpgroup = __shfl_sync(~0u, static_cast<int>(threadIdx.x) / kWarpgroup, 0);
  if (warpgroup == 0) {
    lower_registers<kProducerRegisters>();
    if (threadIdx.x == 0) produce<kDim, kSparse>(params, shared, job);
    if (threadIdx.x >= 32) clean_values<kDim, kSparse>(params, shared, job);
  } else {
    raise_registers<kConsumerRegisters>();
    const TileWalk<kHopperKeys, kSparse> walk(params.attention, job.head, job.q_block);
    const int64_t seen = first_seen(params.attention, job.q_block);
    Consumer<kDim, kSparse>(shared, walk, seen, warpgroup - 1).run(params.attention, job);
  }
}

/* The heads whose keys and values fit in most of the L2 cache together: whole groups that divide all
 * heads, at least one. */
inline int section_of(const AttentionParams& params, int64_t kv_heads, int64_t head_dim) {
  constexpr int64_t kCacheBytes = 32 << 20; /* of an H100's 50 MB */
  const int64_t bytes = (params.prefix.tokens + params.own.tokens) * head_dim * 4;
  int64_t together = max64(1, min64(kv_heads, kCacheBytes / max64(1, bytes)));
  while (kv_heads % together != 0) together--;
  return static_cast<int>(together) * params.group;
}

template <int kDim, bool kSparse>
sx_status launch_hopper(Context& context, const AttentionParams& attention, int64_t kv_heads,
                        const char* op) {
  HopperParams params = {};
  params.attention = attention;
  params.section = section_of(attention, kv_heads, kDim);
  /* Keys that no query sees are not read: they may be the cache's unwritten rows. */
  const int64_t visible = attention.q_offset + attention.q_tokens;
  const Segment& own = attention.own;
  const Segment& prefix = attention.prefix;
  const int64_t own_tokens = min64(own.tokens, visible - prefix.tokens);
  const int64_t prefix_tokens = min64(prefix.tokens, visible);
  const TensorView views[] = {
      {attention.q, attention.q_tokens, attention.q_heads, attention.q_heads * kDim, kDim},
      {own.keys, own_tokens, kv_heads, own.token_stride, own.head_stride},
      {own.values, own_tokens, kv_heads, own.token_stride, own.head_stride},
      {prefix.keys, prefix_tokens, kv_heads, prefix.token_stride, prefix.head_stride},
      {prefix.values, prefix_tokens, kv_heads, prefix.token_stride, prefix.head_stride}};
  CUtensorMap* maps[] = {&params.queries, &params.keys[0], &params.values[0], &params.keys[1],
                         &params.values[1]};
  for (int i = 0; i < 5; i++) {
    /* No key of a segment is seen: a list may name its blocks all the same, and what is fetched for
     * them is masked. */
    if (views[i].tokens <= 0) {
      *maps[i] = params.queries;
    } else {
      SX_RETURN_IF_BAD(encode_map(context, op, maps[i], views[i], kDim));
    }
  }
  auto kernel = attention_hopper_kernel<kDim, kSparse>;
  constexpr int kShared = HopperShared<kDim>::kBytes;
  SX_RETURN_IF_BAD(allow_shared(context, op, kernel, kShared));
  const unsigned grid = static_cast<unsigned>(attention.q_tiles) * attention.q_heads;
  kernel<<<grid, kHopperThreads, kShared, context.stream>>>(params);
  return launched(context, op);
}

}  // namespace cuda
}  // namespace sx

#endif
