/*
 * The parts of Hopper's attention kernel besides the arithmetic: what a block of threads finds in its
 * parameters and in shared memory, which rows are its own, the thread that fetches its tiles, and the
 * warps that clean some of them (see attention_finite.cuh).
 */
#ifndef SX_CUDA_ATTENTION_SM90_PARTS_CUH
#define SX_CUDA_ATTENTION_SM90_PARTS_CUH

#include "attention_finite.cuh"
#include "hopper.cuh"

namespace sx {
namespace cuda {

/* The copy engine's view of a call, and the call. */
struct HopperParams {
  CUtensorMap queries;
  CUtensorMap keys[2], values[2]; /* own segment, prefix segment */
  AttentionParams attention;
  int section; /* heads that are worked on together */
};

constexpr int kHopperKeys = SX_TILE; /* keys of a tile: a chosen block */
constexpr int kHopperConsumers = 2;
constexpr int kHopperThreads = (1 + kHopperConsumers) * kWarpgroup;
static_assert(kRowBlock == kHopperConsumers * 64, "a warpgroup's products have 64 rows");
static_assert(kHopperKeys == 128, "multiply_rows makes 128 columns");

/* Named barriers; 0 is the block's, 1 and 2 are those of the consumers' turns. */
constexpr int kCleaned = 3; /* of the cleaning warps: a tile is clean */
constexpr int kWritten = 4; /* of these and the consumers: the output is written */
/* The first warpgroup's warps but for the one that fetches. */
constexpr int kCleaners = kWarpgroup - 32;
constexpr int kWrittenThreads = kCleaners + kHopperConsumers * kWarpgroup;

/* 64 Ki registers hold 384 threads of 168; the producer gives its up. */
constexpr int kProducerRegisters = 40;
constexpr int kConsumerRegisters = 232;
static_assert(kProducerRegisters + kHopperConsumers * kConsumerRegisters <= 3 * 168, "");

/* What a consumer must know of a tile: how many keys its row 0 sees, and how many may be seen. */
struct TileSight {
  int seen, count;

  /* Every thread finds it by itself, so that nothing but tiles and barriers lies in shared memory. */
  template <bool kSparse>
  __device__ static TileSight of(const TileWalk<kHopperKeys, kSparse>& walk, int64_t first_seen,
                                 int number) {
    const Tile tile = walk.tile(number);
    const int64_t seen = max64(-kHopperKeys, min64(first_seen - tile.base, kHopperKeys));
    return {static_cast<int>(seen), tile.count};
  }
};

/* How many keys row 0 of a row block sees. */
__device__ inline int64_t first_seen(const AttentionParams& params, int q_block) {
  return params.q_offset + static_cast<int64_t>(q_block) * kRowBlock + 1;
}

/* Where the windows of a consumer's rows begin; nothing without windows. */
template <bool kWindowed>
struct WindowFront {
  __device__ WindowFront(const AttentionParams&, int, int) {}
};
template <>
struct WindowFront<true> {
  const AttentionParams& params;
  int64_t place; /* of row 0 of the block */
  int64_t whole; /* the first key that all rows see */

  __device__ WindowFront(const AttentionParams& params, int q_block, int group)
      : params(params),
        place(params.q_offset + static_cast<int64_t>(q_block) * kRowBlock),
        whole(params.window.first_key(place + group * 64 + 63)) {}
  /* How many keys of the tile that begins at `base` a row does not see; 0 or less: none. */
  __device__ int hidden(int row, int64_t base) const {
    const int64_t keys = params.window.first_key(place + row) - base;
    return static_cast<int>(max64(0, min64(keys, kHopperKeys)));
  }
};

/* Shared memory of a block, by address: tiles, barriers, and whether values were cleaned. */
template <int kDim>
struct HopperShared {
  static constexpr int kBoxes = kDim / kBoxColumns;
  static constexpr int kBoxBytes = kRowBlock * kBoxRowBytes;
  static constexpr int kTileBytes = kBoxes * kBoxBytes; /* of queries, keys or values */
  static constexpr int kStages = kDim == 128 ? 3 : 4;
  static constexpr int kAlignment = 1024; /* of boxes whose chunks are permuted */
  static constexpr int kTilesBytes = (1 + 2 * kStages) * kTileBytes;
  static constexpr int kBarriers = 1 + 5 * kStages;
  static constexpr int kBytes = kAlignment + kTilesBytes + kBarriers * 8 + 8;
  static_assert(kRowBlock == kHopperKeys, "queries and keys have the same boxes");
  static_assert(kBytes <= 227 * 1024, "a block's limit");

  uint32_t base;

  __device__ explicit HopperShared(unsigned char* memory)
      : base((shared_address(memory) + kAlignment - 1) / kAlignment * kAlignment) {}
  __device__ uint32_t queries() const { return base; }
  __device__ uint32_t keys(int stage) const { return base + (1 + stage) * kTileBytes; }
  __device__ uint32_t values(int stage) const { return base + (1 + kStages + stage) * kTileBytes; }
  __device__ uint32_t barrier(int number) const { return base + kTilesBytes + number * 8; }
  __device__ uint32_t queries_full() const { return barrier(0); }
  __device__ uint32_t keys_full(int stage) const { return barrier(1 + stage); }
  __device__ uint32_t keys_free(int stage) const { return barrier(1 + kStages + stage); }
  __device__ uint32_t values_full(int stage) const { return barrier(1 + 2 * kStages + stage); }
  __device__ uint32_t values_free(int stage) const { return barrier(1 + 3 * kStages + stage); }
  /* Values that are there and must be cleaned: values_full() is announced by those who do. */
  __device__ uint32_t values_raw(int stage) const { return barrier(1 + 4 * kStages + stage); }
  /* 1 if a value was zeroed that some rows may see. */
  __device__ uint32_t cleaned() const { return barrier(kBarriers); }

  /* By one thread: a full stage is announced by the producer, a free one by each consuming warp, of a
   * pair of blocks to both. */
  template <bool kPaired>
  __device__ void init_barriers() const {
    constexpr int kConsumingWarps = (kPaired ? 2 : 1) * kHopperConsumers * kWarpgroup / 32;
    init_barrier(queries_full(), 1);
    for (int stage = 0; stage < kStages; stage++) {
      init_barrier(keys_full(stage), 1);
      init_barrier(values_full(stage), 1);
      init_barrier(values_raw(stage), 1);
      init_barrier(keys_free(stage), kConsumingWarps);
      init_barrier(values_free(stage), kConsumingWarps);
    }
    store_word(cleaned(), 0);
    publish_barriers();
  }
};

/* The work of block `number`: sections of heads in turn, so that the keys and values in use fit in the
 * L2 cache; in a section the longest rows first, its heads side by side. */
struct HopperJob {
  int head, q_block;

  __device__ HopperJob(const HopperParams& params, unsigned number) {
    const unsigned section = params.section;
    const unsigned jobs = section * params.attention.q_tiles;
    const unsigned rest = number % jobs;
    head = static_cast<int>(number / jobs * section + rest % section);
    q_block = params.attention.q_tiles - 1 - static_cast<int>(rest / section);
  }
};

template <int kDim>
__device__ inline void load_tile(uint32_t to, const CUtensorMap* map, uint32_t barrier, int row,
                                 int head) {
  using Shared = HopperShared<kDim>;
  arrive_expecting(barrier, Shared::kTileBytes);
#pragma unroll
  for (int box = 0; box < Shared::kBoxes; box++) {
    copy_box(to + box * Shared::kBoxBytes, map, barrier, box * kBoxColumns, row, head);
  }
}

/* The same by a pair of blocks, each of which fetches half of the tile for both. */
template <int kDim>
__device__ inline void load_shared_tile(uint32_t to, const CUtensorMap* map, uint32_t barrier,
                                        int row, int head) {
  using Shared = HopperShared<kDim>;
  static_assert(Shared::kBoxes == 2, "a box for each block");
  arrive_expecting(barrier, Shared::kTileBytes);
  const int box = static_cast<int>(rank_in_pair());
  copy_box_to_pair(to + box * Shared::kBoxBytes, map, barrier, box * kBoxColumns, row, head);
}

/* By one thread: fetches all that the block needs, in the order in which it is consumed. */
template <int kDim, bool kSparse, bool kPaired, bool kWindowed>
__device__ inline void produce(const HopperParams& params, const HopperShared<kDim>& shared,
                               const HopperJob& job) {
  const TileWalk<kHopperKeys, kSparse> walk(params.attention, job.head, job.q_block);
  if (walk.tiles == 0) return;
  const int64_t first_row = static_cast<int64_t>(job.q_block) * kRowBlock;
  const int head = job.head / params.attention.group;
  load_tile<kDim>(shared.queries(), &params.queries, shared.queries_full(),
                  static_cast<int>(first_row), job.head);
  const auto fetch = [&](uint32_t to, const CUtensorMap& map, uint32_t barrier, int64_t row) {
    if constexpr (kPaired) {
      load_shared_tile<kDim>(to, &map, barrier, static_cast<int>(row), head);
    } else {
      load_tile<kDim>(to, &map, barrier, static_cast<int>(row), head);
    }
  };
  RingPlace<HopperShared<kDim>::kStages> keys, values;
  Tile next = walk.tile(0), before = {};
  int partial = 0; /* found when the first keys are under way */
  for (int n = 0; n <= walk.tiles; n++) {
    const Tile tile = next;
    if (n + 1 < walk.tiles) next = walk.tile(n + 1);
    if (n < walk.tiles) {
      wait_phase(shared.keys_free(keys.stage), keys.parity ^ 1);
      fetch(shared.keys(keys.stage), params.keys[tile.is_prefix], shared.keys_full(keys.stage),
            tile.first);
      keys.advance();
    }
    if (n == 0 && !kWindowed) partial = first_partial(params.attention, job.q_block, walk);
    if (n > 0) {
      wait_phase(shared.values_free(values.stage), values.parity ^ 1);
      bool seen = n <= partial;
      if constexpr (kWindowed) seen = sees_all<kHopperKeys>(params.attention, job.q_block, before);
      const uint32_t full =
          seen ? shared.values_full(values.stage) : shared.values_raw(values.stage);
      fetch(shared.values(values.stage), params.values[before.is_prefix], full, before.first);
      values.advance();
    }
    before = tile;
  }
}

/* By the cleaning warps: zeroes the values that are not finite in the tiles of which some row does not
 * see all keys, the last ones and those where windows begin, and announces these tiles; in the end gives
 * such values to the rows that see them. */
template <int kDim, bool kSparse, bool kWindowed>
__device__ inline void clean_values(const HopperParams& params, const HopperShared<kDim>& shared,
                                    const HopperJob& job) {
  using Shared = HopperShared<kDim>;
  const int thread = threadIdx.x - 32;
  const TileWalk<kHopperKeys, kSparse> walk(params.attention, job.head, job.q_block);
  uint32_t parities = 0; /* of the raw barriers, whose phases are those of such tiles alone */
  const int first = kWindowed ? 0 : first_partial(params.attention, job.q_block, walk);
  for (int n = first; n < walk.tiles; n++) {
    if constexpr (kWindowed) {
      if (sees_all<kHopperKeys>(params.attention, job.q_block, walk.tile(n))) continue;
    }
    const int stage = n % Shared::kStages;
    wait_idly(shared.values_raw(stage), parities >> stage & 1);
    parities ^= 1u << stage;
    const uint32_t values = shared.values(stage);
    bool found = false;
#pragma unroll 4
    for (int at = thread * 16; at < Shared::kTileBytes; at += kCleaners * 16) {
      found |= zero_unfinite(values + at);
    }
    if (found) {
      set_bits(shared.cleaned(), 1);
      show_to_products();
    }
    sync_named(kCleaned, kCleaners);
    if (thread == 0) arrive(shared.values_full(stage));
  }
  sync_named(kWritten, kWrittenThreads);
  if (load_word(shared.cleaned()) != 0) {
    add_unfinite<kDim>(params.attention, walk, job, thread, kCleaners);
  }
}

}  // namespace cuda
}  // namespace sx

#endif
