/*
 * Attention of few queries of some sequences, each against chosen tiles of its own keys and the means
 * of the others (see sx_attention_decode_tiles in ../sx_attention.h): the formula, the rows, the splits
 * and the merge of attention_decode.cu. Bound by memory: 4*D bytes for each key and mean of a key head,
 * 2*D + 8 for a key of codes.
 *
 * What a key head reads is numbered on from 0: the keys of its chosen tiles, those behind the pooled
 * tiles, then, from a whole step of a block on, a mean for each other tile. Splits are cut by these
 * numbers, so that all have as much to do, and where every tile is chosen they are attention_decode's,
 * bit for bit. The keys of a warp's step lie in one tile, whose number is read two steps before its keys
 * are multiplied; means are gathered row by row, as there are few. Grid as there, with the counts of
 * the lists read by the device, so that a captured graph stays right while sequences grow and lists
 * change. A number in a list that is out of range is taken for tile 0.
 */
#include "attention_decode.cuh"
#include "attention_decode_plan.cuh"

namespace sx {
namespace cuda {

namespace {

using namespace decode;

static_assert(kStages == 2 && SX_TILE % kBlockKeys == 0, "what the loop over the keys is made for");

/* Blocks of a multiprocessor. */
constexpr int kTilesResident = 3;
/* ln(128) in base 2: the weight of a tile's mean. */
constexpr float kTileLog2 = 7;
static_assert(SX_TILE == 128, "a mean has the weight of its keys");

struct Tiles {
  Decode decode;
  const bf16* mean_keys;
  const bf16* mean_values;
  const int32_t* pooled_tiles; /* of the first sequence on, and so are the lists */
  const int32_t* counts;
  const int32_t* indices;
  int64_t index_stride, mean_capacity, mean_head_stride;
};

/* What one key head of a sequence reads, in numbers from 0 on, and how that is split. */
struct Reading {
  Range range;
  const int32_t* list;   /* chosen tiles, then the others */
  int64_t pooled, tiled; /* pooled tiles; numbers of keys in chosen tiles */
  int64_t keys, means;   /* the first number behind the keys, and that of the first mean */
  int64_t all;           /* the first number behind all */
};

__device__ inline Reading reading_of(const Tiles& tiles, int sequence, int kv_head) {
  const Decode& decode = tiles.decode;
  Reading reading;
  Range& range = reading.range;
  range = range_of(decode, sequence);
  const int64_t at = static_cast<int64_t>(sequence) * (decode.q_heads / decode.group) + kv_head;
  const int64_t pooled = tiles.pooled_tiles[sequence], chosen = tiles.counts[at];
  const int64_t seen = range.count - (decode.causal ? decode.tokens - 1 : 0);
  range.valid = range.valid && pooled >= 0 && pooled <= tiles.index_stride && chosen >= 0 &&
                chosen <= pooled && range.first_row % SX_TILE == 0 &&
                range.first_row / SX_TILE + pooled <= tiles.mean_capacity &&
                (pooled == 0 || pooled * SX_TILE <= seen);
  reading.list = tiles.indices + at * tiles.index_stride;
  reading.pooled = pooled;
  reading.tiled = chosen * SX_TILE;
  reading.keys = range.count - (pooled - chosen) * SX_TILE;
  reading.means = round_up(reading.keys, kBlockKeys);
  reading.all = pooled == chosen ? reading.keys : reading.means + pooled - chosen;
  if (!range.valid) reading.all = 0;
  range.share = max64(kLeastShare, round_up(ceil_div(reading.all, decode.split_limit), kBlockKeys));
  range.splits = static_cast<int>(ceil_div(reading.all, range.share));
  return reading;
}

/* A tile of a list, whatever it says. */
__device__ inline int64_t tile_at(const Reading& reading, int64_t place) {
  const int64_t tile = reading.list[place];
  return tile >= 0 && tile < reading.pooled ? tile : 0;
}

/* The tile that key number `at` is in, where it is in a chosen one. */
__device__ inline int64_t tile_of(const Reading& reading, int64_t at) {
  return at < reading.tiled ? tile_at(reading, at / SX_TILE) : 0;
}

/* Rows of the means in the order of a list. */
struct Listed {
  const Reading& reading;
  __device__ int64_t operator()(int64_t place) const { return tile_at(reading, place); }
};

/* 16 keys that lie behind each other, or as many means of a list. */
struct Chunk {
  int64_t first, end; /* the first key of the sequence, or place in the list; those before end */
  bool is_means;
};

__device__ inline Chunk chunk_at(const Reading& reading, int64_t at, int64_t end, int64_t tile) {
  if (at >= reading.means) {
    const int64_t behind = reading.means - reading.tiled / SX_TILE;
    return {at - behind, min64(end, reading.all) - behind, true};
  }
  const int64_t first = at < reading.tiled ? tile * SX_TILE + at % SX_TILE
                                           : at - reading.tiled + reading.pooled * SX_TILE;
  return {first, first + min64(end, reading.keys) - at, false};
}

/* The online softmax of 16 means, of which the first `count` are there. */
template <int kDim, int kTiles>
__device__ inline void soften_means(float (&logits)[kTiles][4], WarpState<kDim, kTiles>& state,
                                    float scale, int64_t count) {
  const int key = threadIdx.x % 32 / 4;
#pragma unroll
  for (int tile = 0; tile < kTiles; tile++) {
#pragma unroll
    for (int i = 0; i < 2; i++) {
      float &low = logits[tile][i], &high = logits[tile][2 + i];
      const int64_t seen = state.end[tile][i] > 0 ? count : 0; /* a row that there is */
      low = key < seen ? low * scale + kTileLog2 : -INFINITY;
      high = key + 8 < seen ? high * scale + kTileLog2 : -INFINITY;
      absorb(low, high, state, tile, i);
    }
  }
}

/* Means are bf16, in the keys' order of elements; stages have room for 16 of them. */
template <class Element, int kDim>
using MeanPieces = Pieces<bf16, kDim, kScaled<Element>>;
template <class Element, int kDim>
using TilesQueue = Queue<Element, kDim, MeanPieces<Element, kDim>::kChunks>;

/* The keys or the means of a chunk, which lie in a stage. */
template <class Element, int kDim, int kTiles>
__device__ inline void take_chunk(WarpState<kDim, kTiles>& state,
                                  const TilesQueue<Element, kDim>& queue, int stage, float scale,
                                  const Chunk& chunk) {
  if (kScaled<Element> && !chunk.is_means) {
    take_step(state, queue, stage, scale, chunk.first);
    return;
  }
  /* bf16, whatever it is, so that there is one copy of the code. */
  using P = MeanPieces<Element, kDim>;
  take_keys<P>(state, queue.stage(stage), bf16{}, [&](float(&logits)[kTiles][4]) {
    if (chunk.is_means) {
      soften_means(logits, state, scale, chunk.end - chunk.first);
    } else {
      soften(logits, state, scale, chunk.first);
    }
  });
}

/* kHides: as in attention_decode.cu. */
template <class Element, int kDim, int kTiles, bool kAligned, bool kHides>
__global__ void __launch_bounds__(kThreads, kTilesResident)
    tiles_kernel(const __grid_constant__ Tiles tiles) {
  extern __shared__ uint4 memory[];
  const Decode& decode = tiles.decode;
  const int warp = threadIdx.x / 32;
  const Job job(decode, kTiles * 8);
  const Reading reading = reading_of(tiles, job.sequence, job.kv_head);
  const Range& range = reading.range;
  if (job.split >= range.splits) return;
  const int64_t begin = job.split * range.share, end = min64(begin + range.share, reading.all);
  const Rows<Element> rows(decode, job.kv_head, range.first_row);
  const int64_t mean_offset =
      job.kv_head * tiles.mean_head_stride + range.first_row / SX_TILE * kDim;
  const TilesQueue<Element, kDim> queue(memory);
  const auto fetch_chunk = [&](int stage, const Chunk& chunk) {
    if (chunk.is_means) {
      fetch_keys<MeanPieces<Element, kDim>, kAligned>(
          queue.stage(stage), tiles.mean_keys + mean_offset, tiles.mean_values + mean_offset,
          chunk.first, chunk.end, kDim, Listed{reading});
      commit_copies();
    } else {
      fetch_step<kAligned>(queue, stage, rows, chunk.first, chunk.end);
    }
  };
  int64_t at = begin + warp * kKeys;
  Chunk chunk = chunk_at(reading, at, end, tile_of(reading, at));
  fetch_chunk(0, chunk);
  int64_t ahead = tile_of(reading, at + kBlockKeys);
  WarpState<kDim, kTiles> state = {};
  load_queries<PiecesOf<Element, kDim>, kAligned>(
      state, decode,
      decode.q + static_cast<int64_t>(job.sequence) * decode.tokens * decode.q_heads * kDim,
      job.kv_head, job.first, range);
  int stage = 0;
  bool cleaned = false;
  for (; at < end; at += kBlockKeys) {
    __syncwarp(); /* all are done with the stage that comes next */
    const Chunk next = chunk_at(reading, at + kBlockKeys, end, ahead);
    fetch_chunk(1 - stage, next);
    ahead = tile_of(reading, at + 2 * kBlockKeys);
    wait_copies<kStages - 1>();
    __syncwarp(); /* lanes read each other's copies */
    /* Between the keys and the means there may be nothing to read. */
    if (chunk.first < chunk.end) {
      if (kHides && !chunk.is_means && chunk.first > range.whole_last) {
        cleaned |= clean_values<PiecesOf<Element, kDim>>(queue.stage(stage));
      }
      take_chunk<Element>(state, queue, stage, decode.scale_log2, chunk);
    }
    chunk = next;
    stage = 1 - stage;
  }
  const bool found =
      finish_split<PiecesOf<Element, kDim>, kHides>(decode, job, state, memory, cleaned);
  if constexpr (kHides) {
    if (!found) return;
    /* All rows see the keys of pooled tiles. */
    const int64_t behind = reading.pooled * SX_TILE - reading.tiled;
    add_unfinite<kDim, kTiles>(decode, job, rows.values, range,
                               max64(begin, reading.tiled) + behind,
                               min64(end, reading.keys) + behind);
  }
}

template <int kDim, class Out>
__global__ void __launch_bounds__(kDim) merge_tiles_kernel(const __grid_constant__ Tiles tiles) {
  const Decode& decode = tiles.decode;
  const int row = blockIdx.x % (decode.tokens * decode.q_heads);
  const Reading reading = reading_of(tiles, blockIdx.x / (decode.tokens * decode.q_heads),
                                     row % decode.q_heads / decode.group);
  merge_splits<kDim, Out>(decode, reading.range.splits, reading.range.valid);
}

constexpr const char* kOp = "attend to tiles of the cache";

template <class Element, int kDim, int kTiles>
sx_status launch(Context& context, const Tiles& tiles, bool aligned, Shape<Element, kDim, kTiles>) {
  const Decode& decode = tiles.decode;
  const unsigned grid = split_blocks(decode);
  constexpr int kBytes = kSharedBytes<TilesQueue<Element, kDim>, kDim, kTiles>;
  constexpr bool kMayHide = !kScaled<Element>;
  const bool hides = hides_keys(decode);
  auto kernel = aligned && hides ? tiles_kernel<Element, kDim, kTiles, true, kMayHide>
                : aligned        ? tiles_kernel<Element, kDim, kTiles, true, false>
                : hides          ? tiles_kernel<Element, kDim, kTiles, false, kMayHide>
                                 : tiles_kernel<Element, kDim, kTiles, false, false>;
  if (grid > 0) {
    SX_RETURN_IF_BAD(allow_shared(context, kOp, kernel, kBytes));
    kernel<<<grid, kThreads, kBytes, context.stream>>>(tiles);
    SX_RETURN_IF_BAD(launched(context, kOp));
  }
  auto merge = decode.out_dtype == SX_BF16 ? merge_tiles_kernel<kDim, bf16>
                                           : merge_tiles_kernel<kDim, float>;
  merge<<<merge_blocks(decode), kDim, 0, context.stream>>>(tiles);
  return launched(context, kOp);
}

}  // namespace

sx_status attention_decode_tiles(Context& context, const sx_attention_decode_tiles_params& args) {
  const sx_attention_decode_params& all = args.attention;
  const bool aligned = has_aligned_rows(all) && is_aligned(args.mean_keys) &&
                       is_aligned(args.mean_values) && args.mean_head_stride % 8 == 0;
  Tiles tiles = {};
  tiles.mean_keys = static_cast<const bf16*>(args.mean_keys);
  tiles.mean_values = static_cast<const bf16*>(args.mean_values);
  tiles.index_stride = args.index_stride;
  tiles.mean_capacity = args.mean_capacity;
  tiles.mean_head_stride = args.mean_head_stride;
  return for_parts(context, kOp, all, [&](const Decode& decode, int64_t first, auto shape) {
    tiles.decode = decode;
    tiles.pooled_tiles = args.pooled_tiles + first;
    tiles.counts = args.counts + first * all.kv_heads;
    tiles.indices = args.indices + first * all.kv_heads * args.index_stride;
    return launch(context, tiles, aligned, shape);
  });
}

}  // namespace cuda
}  // namespace sx
