/*
 * The kernel of dense and block-sparse attention on Hopper (compute capability 9.0): flash style with
 * the producer, the pipelines and the overlap of FlashAttention-3 (arXiv 2407.08608).
 *
 * A block of three warpgroups owns 128 queries of one head. One thread of the first warpgroup lets the
 * copy engine fetch the queries once, and tiles of 128 keys and of 128 values into rings of shared
 * memory; the other two own 64 queries each, and keep them in registers. A warpgroup starts the
 * products of its queries with the next keys, then those of the weights with the values before; while
 * they run it turns the logits into weights. The two take turns in starting products, the next when
 * the first product of the other is done, so that one's softmax runs under the other's products. Only
 * tiles that the diagonal, the end of a segment or the begin of a window crosses are masked; the idle
 * warps of the first warpgroup clean their values (see attention_finite.cuh) before the others learn that
 * they are there, as any branch for it in the loop over tiles costs 5 to 9 %. Calls with windows have
 * kernels of their own, so that the others' code stays as it is.
 *
 * Dense attention of heads that share keys runs in pairs of blocks (clusters of two): each fetches half
 * of every tile for both. No bit depends on it.
 *
 * What was gained and what was tried, on one H200 that its power bounds (dense 32,768; the last 8,192 of
 * 131,072; a tenth of the tiles of 32,768), in ms against 14.28, 27.6 and 1.79 of the form before:
 *   queries in registers 13.98, 26.6, 1.75; sums rescaled only where a logit exceeds the reference by
 *   2^8 13.87, 26.7, 1.75, where the maximum has grown at all 14.55, 28.1, 1.79; stores of 16 bytes
 *   14.23, 27.6, 1.73; pairs 14.00, 26.9.
 * Against 14.07, 27.0, 1.75: all of it 13.22, 25.7, and without pairs 13.48, 26.2, 1.65; without turns
 *   13.60, 26.1, 1.67, with turns passed at once and pairs 13.34, 25.7. The later turn alone 14.13, 27.4.
 * Left out: blocks that take one row of tiles after the other, the first products of one row started
 *   with the last of the row before, 14.00, 27.3, 1.61, and 14.20, 27.4, 1.80 with a block for each row
 *   all the same: what the border between rows adds to the code costs more than it hides where rows are
 *   long. 240 registers instead of 232, and 24 for the producer, there: 15.08 instead of 14.26.
 * Left out later (dense 32,768; a tenth of the tiles of 8,192, 32,768 and 131,072), against 13.2 to 13.6;
 *   0.169, 1.61 to 1.69 and 23.8: no cleaning at all 13.6; -, 1.69, so that it costs nothing that can be
 *   measured; rows made once more where a sum is not finite, instead of cleaning, 14.4 with a loop around
 *   them and 14.0 with a second copy of the code; every fourth exponential by a polynomial 15.2; 0.168,
 *   1.79; queries asked for before the block's barrier, and those of later blocks brought to L2, 14.4
 *   instead of 14.4, and 1.72 instead of 1.70; a block for each multiprocessor, which makes rows one after
 *   the other and fetches the next row's tiles meanwhile: dense in pairs 14.1, block-sparse by a counter
 *   0.149, 1.74, 25.8, as stages that go on from row to row are in no uniform register: each tile's
 *   products then wait for 32 moves of their descriptors.
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
#include "attention_sm90_rows.cuh"

namespace sx {
namespace cuda {

/* What a thread holds of its warpgroup's 64 rows: parts of two rows. */
template <int kDim>
struct ConsumerState {
  uint32_t queries[kDim / 16][4];
  float out[kDim / 2];
  float logits[kHopperKeys / 2];
  uint32_t weights[kHopperKeys / 16][4];
  RowSums rows;
};

/* Starts logits = queries . keys. */
template <int kDim>
__device__ inline void start_logits(ConsumerState<kDim>& state, uint64_t keys) {
  using Shared = HopperShared<kDim>;
  pin(state.logits);
  begin_products();
#pragma unroll
  for (int k = 0; k < kDim / 16; k++) {
    const uint64_t box = advance_operand(keys, k / 4 * Shared::kBoxBytes + k % 4 * 32);
    if (k == 0) {
      multiply_rows<false>(state.logits, state.queries[k], box);
    } else {
      multiply_rows<true>(state.logits, state.queries[k], box);
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

/* The same of keys before a row's window: of the tile's first ones. */
__device__ inline void mask_before(float (&logits)[kHopperKeys / 2], int first, int second) {
  const int column = threadIdx.x % 4 * 2;
#pragma unroll
  for (int n = 0; n < kHopperKeys / 8; n++) {
#pragma unroll
    for (int i = 0; i < 2; i++) {
      if (n * 8 + i < first - column) logits[4 * n + i] = -INFINITY;
      if (n * 8 + i < second - column) logits[4 * n + 2 + i] = -INFINITY;
    }
  }
}

/* Online softmax: logits become weights relative to a row's reference, the largest logit so far or one
 * that it exceeds by little; factor brings what was summed before to the reference, which decides by
 * the row's own logits alone. */
template <int kDim>
__device__ inline void soften_tile(ConsumerState<kDim>& state, float (&factor)[2], float scale) {
#pragma unroll
  for (int half = 0; half < 2; half++) {
    const float before = state.rows.reference[half];
    float max = before;
#pragma unroll
    for (int n = 0; n < kHopperKeys / 8; n++) {
      max = fmaxf(max, fmaxf(state.logits[4 * n + 2 * half], state.logits[4 * n + 2 * half + 1]));
    }
    max = quad_max(max);
    const bool stays = (max - before) * scale <= kSlackLog2;
    const float reference = stays ? before : max;
    /* A row that has seen no key yet: any finite reference gives weights of 0. */
    const float shift = reference == -INFINITY ? 0 : reference * scale;
    factor[half] = stays ? 1 : fast_exp2(before * scale - shift);
    state.rows.reference[half] = reference;
    float sum = 0;
#pragma unroll
    for (int n = 0; n < kHopperKeys / 8; n++) {
#pragma unroll
      for (int i = 4 * n + 2 * half; i < 4 * n + 2 * half + 2; i++) {
        state.logits[i] = fast_exp2(state.logits[i] * scale - shift);
        sum += state.logits[i];
      }
    }
    state.rows.sum[half] = state.rows.sum[half] * factor[half] + sum;
  }
}

/* Brings sums to a new reference; most tiles change none of a warp's. */
template <int kDim>
__device__ inline void rescale(ConsumerState<kDim>& state, const float (&factor)[2]) {
  if (!__any_sync(~0u, factor[0] != 1 || factor[1] != 1)) return;
#pragma unroll
  for (int i = 0; i < kDim / 2; i++) state.out[i] *= factor[i / 2 % 2];
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

template <int kDim, bool kSparse, bool kPaired, bool kWindowed>
struct Consumer {
  using Shared = HopperShared<kDim>;
  using KeyWalk = TileWalk<kHopperKeys, kSparse>;
  using Front = WindowFront<kWindowed>;
  /* Barriers of the turns; 0 is the block's. */
  static constexpr int kFirstTurn = 1;

  const Shared& shared;
  const KeyWalk& walk;
  const int64_t first_seen;
  const int group;   /* which consumer */
  const Front front; /* of the group's rows */
  ConsumerState<kDim> state;
  RingPlace<Shared::kStages> keys, values;
  TileSight sight;                     /* of the tile of keys */
  const uint64_t key_rows, value_rows; /* of the first stage */

  __device__ Consumer(const Shared& shared, const KeyWalk& walk, int64_t first_seen, int group,
                      const Front& front)
      : shared(shared),
        walk(walk),
        first_seen(first_seen),
        group(group),
        front(front),
        state(),
        sight(),
        key_rows(describe_operand(shared.keys(0))),
        value_rows(describe_operand(shared.values(0), Shared::kBoxBytes)) {}

  __device__ int row() const {
    return group * 64 + threadIdx.x % kWarpgroup / 32 * 16 + threadIdx.x % 32 / 4;
  }
  __device__ void take_turn() const { sync_named(kFirstTurn + group, 2 * kWarpgroup); }
  __device__ void pass_turn() const { arrive_named(kFirstTurn + 1 - group, 2 * kWarpgroup); }

  /* Masks the logits of tile n where some row does not see all keys. */
  __device__ void mask(int n) {
    if constexpr (kWindowed) {
      const int64_t base = walk.tile(n).base;
      if (base < front.whole) {
        mask_before(state.logits, front.hidden(row(), base), front.hidden(row() + 8, base));
      }
    }
    if (sight.count >= kHopperKeys && sight.seen + group * 64 >= kHopperKeys) return;
    const int count = max(0, sight.count);
    mask_tile(state.logits, min(sight.seen + row(), count), min(sight.seen + row() + 8, count));
  }

  /* All lanes of a warp are done with a stage. */
  __device__ void free_stage(uint32_t barrier) const {
    if constexpr (kPaired) {
      release_pair(barrier);
    } else {
      release(barrier);
    }
  }

  __device__ void await_keys() const { wait_phase(shared.keys_full(keys.stage), keys.parity); }
  __device__ void start_tile() {
    start_logits(state, advance_operand(key_rows, keys.stage * Shared::kTileBytes));
  }
  __device__ void start_sums() {
    wait_phase(shared.values_full(values.stage), values.parity);
    start_out(state, advance_operand(value_rows, values.stage * Shared::kTileBytes));
  }

  /* Logits of tile n to weights, once the products that make them are done. */
  __device__ void soften(float (&factor)[2], float scale, int n) {
    pin(state.logits);
    free_stage(shared.keys_free(keys.stage));
    const bool more = n + 1 < walk.tiles;
    mask(n);
    /* Of the next tile: a list's number has arrived when the weights are done. */
    if (more) sight = TileSight::of(walk, first_seen, n + 1);
    soften_tile(state, factor, scale);
    /* Here rather than where the next tile begins: a loop stands between the weights and what waits
     * for the sums, so that the compiler does not wait before it makes the weights. */
    if (!more) return;
    keys.advance();
    await_keys();
  }

  /* Queries stay in registers: products need not read them from shared memory with every tile. */
  __device__ void take_queries() {
    const int in_group = threadIdx.x % kWarpgroup;
    const int row = group * 64 + in_group / 32 * 16 + in_group % 16;
    const uint32_t first = shared.queries() + row * kBoxRowBytes;
#pragma unroll
    for (int k = 0; k < kDim / 16; k++) {
      const int chunk = k % 4 * 2 + in_group % 32 / 16;
      load_matrices(state.queries[k],
                    first + k / 4 * Shared::kBoxBytes + ((chunk ^ (row & 7)) << 4));
    }
  }

  /* The first tile has nothing to overlap with. */
  __device__ void first_tile(float scale) {
    sight = TileSight::of(walk, first_seen, 0);
    wait_phase(shared.queries_full(), 0);
    take_queries();
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
    wait_products<1>();
    pass_turn();
    float factor[2];
    soften(factor, scale, n);
    wait_products<0>();
    pin(state.out);
    pin(state.weights);
    free_stage(shared.values_free(values.stage));
    values.advance();
    pack_weights(state);
    rescale(state, factor);
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
    write_rows<kDim>(params, job, state.out, state.rows, row());
    arrive_named(kWritten, kWrittenThreads);
  }
};

template <int kDim, bool kSparse, bool kPaired, bool kWindowed>
__global__ void __launch_bounds__(kHopperThreads, 1)
    attention_hopper_kernel(const __grid_constant__ HopperParams params) {
  extern __shared__ __align__(16) unsigned char memory[];
  const HopperShared<kDim> shared(memory);
  const HopperJob job(params, blockIdx.x);
  if (threadIdx.x == 0) shared.template init_barriers<kPaired>();
  if constexpr (kPaired) {
    sync_pair();
  } else {
    __syncthreads();
  }
  /* The same for a whole warp, as the compiler can see. */
  const int warpgroup = __shfl_sync(~0u, static_cast<int>(threadIdx.x) / kWarpgroup, 0);
  if (warpgroup == 0) {
    lower_registers<kProducerRegisters>();
    if (threadIdx.x == 0) produce<kDim, kSparse, kPaired, kWindowed>(params, shared, job);
    if (threadIdx.x >= 32) clean_values<kDim, kSparse, kWindowed>(params, shared, job);
  } else {
    raise_registers<kConsumerRegisters>();
    const TileWalk<kHopperKeys, kSparse> walk(params.attention, job.head, job.q_block);
    const int64_t seen = first_seen(params.attention, job.q_block);
    const int group = warpgroup - 1;
    const WindowFront<kWindowed> front(params.attention, job.q_block, group);
    Consumer<kDim, kSparse, kPaired, kWindowed>(shared, walk, seen, group, front)
        .run(params.attention, job);
  }
  if constexpr (kPaired) { /* the other one may still write to this one's memory */
    __syncwarp();
    sync_pair();
  }
}

}  // namespace cuda
}  // namespace sx

#endif
