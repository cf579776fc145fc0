/*
 * Chooses the tiles of keys that a decode step reads, by two bits of each number of their keys
 * (see sx_decode_select in ../sx_attention.h).
 *
 * First the logits of all tiles, a warp a tile: the tensor cores multiply the levels of 16 keys, as f16,
 * by q' = scale * spread * q of kLogitRows rows of queries, each as the sum of two f16 (of a row's own
 * unit, a power of two, so that nothing overflows), in f32. A lane makes its part of q' by itself, and
 * byte permutes make the levels, about one instruction a code (with levels and factors as bytes for
 * whole sums, half of that, a layer took 4 us less, but near ties fell otherwise). Then a block a key head of a sequence: a warp makes the
 * softmax of a row within a unit, the rows of a tile are added up in order, a warp a unit finds the
 * border between what is chosen and what is not, and the block writes the numbers in order. As in
 * select_tiles.cu nothing is sorted: the border is found by bisection over the bits of a float, whose
 * ends move on to the next mass that there is. Logits lie in working memory; where it does not suffice,
 * sequences are done in passes. Numbers of tiles are read by the device, so that a captured graph stays
 * right. Bytes D/4 for each key of a key head, ceil(T*HQ/HK / kLogitRows) times, and 12*T*HQ/HK for each tile;
 * FLOPs 2*D*T*HQ for each key.
 */
#include "decode_logits.cuh"

namespace sx {
namespace cuda {

namespace {

using Params = SelectParams;
using Job = SelectJob;

constexpr const char* kOp = "choose tiles of the cache";
constexpr int kThreads = 512;
constexpr int kWarps = kThreads / 32;
/* Tiles of a unit that a lane holds in registers; of longer units none. */
constexpr int kHeld = 32;

/* Calls with each of the lane's places of a unit and what is there, held or read anew; all lanes
 * together, so that it may vote. */
template <int kCount, class Value>
struct Held {
  Value held[kCount];
  int size, lane;
  template <class Read>
  __device__ Held(int size, Read read) : size(size), lane(static_cast<int>(threadIdx.x % 32)) {
#pragma unroll
    for (int i = 0; i < kCount; i++) held[i] = read(32 * i + lane);
  }
  template <class Use>
  __device__ void each(Use use) {
#pragma unroll
    for (int i = 0; i < kCount; i++) use(32 * i + lane, held[i]);
  }
};
template <class Value, class Read>
struct Anew {
  int size, lane;
  Read read;
  __device__ Anew(int size, Read read)
      : size(size), lane(static_cast<int>(threadIdx.x % 32)), read(read) {}
  template <class Use>
  __device__ void each(Use use) {
    for (int first = 0; first < size; first += 32) {
      Value value = read(first + lane);
      use(first + lane, value);
    }
  }
};

/* Logits of one row within a unit become shares; those that are left out become NaN. */
template <class Places>
__device__ inline void soften(Places& places, float* row, int size) {
  float top = -INFINITY;
  places.each([&](int, float& logit) {
    if (logit < INFINITY) top = fmaxf(top, logit);
  });
  top = warp_max(top);
  const float shift = top == -INFINITY ? 0 : top;
  float sum = 0;
  places.each([&](int, float& logit) {
    if (logit < INFINITY) sum += fast_exp2(logit - shift);
  });
  sum = warp_sum(sum);
  const float factor = sum > 0 ? 1 / sum : 0;
  places.each([&](int at, float& logit) {
    if (at >= size) return;
    row[at] = logit < INFINITY ? fast_exp2(logit - shift) * factor : __uint_as_float(0x7fc00000u);
  });
}

__device__ inline void soften_unit(float* row, int size) {
  const auto read = [=](int at) { return at < size ? row[at] : -INFINITY; };
  if (size <= 32 * 4) {
    Held<4, float> places(size, read);
    soften(places, row, size);
  } else if (size <= 32 * kHeld) {
    Held<kHeld, float> places(size, read);
    soften(places, row, size);
  } else {
    Anew<float, decltype(read)> places(size, read);
    soften(places, row, size);
  }
}

/* What orders tiles that may be chosen: the bits of their mass, from 1 on; 0 of all others. */
__device__ inline uint32_t rank_of(const Params& args, const float* mass, int tile) {
  const float value = mass[tile];
  const bool may = !isnan(value) && tile >= args.first_tiles && args.keep < 1 &&
                   (args.by_threshold == 0 || value > 0);
  return may ? __float_as_uint(value) + 1 : 0;
}

/* Chosen are all of larger rank, and so many of just this rank. */
struct Border {
  uint32_t rank;
  int ties;
};

/* What a tile counts for, its mass or one, and what a warp's tiles do: where each counts for one, in whole
 * numbers, whose sum is one instruction. */
struct ByMass {
  using Sum = double;
  __device__ static double worth(uint32_t rank) { return __uint_as_float(rank - 1); }
  __device__ static double total(double sum) { return warp_sum(sum); }
};
struct ByCount {
  using Sum = int;
  __device__ static int worth(uint32_t) { return 1; }
  __device__ static int total(int sum) { return __reduce_add_sync(~0u, sum); }
};

/* first, wanted: what the tiles that are always chosen count for, and what all are to. */
template <class By, class Places>
__device__ inline Border find_border(Places& places, double first, double wanted) {
  using Sum = typename By::Sum;
  uint32_t low = 0, high = 0;
  places.each([&](int, uint32_t& rank) { high = rank > high ? rank : high; });
  high = __reduce_max_sync(~0u, high);
  if (!(first < wanted) || high == 0) return {~0u, 0};
  /* The smallest rank at which what is larger is not enough. */
  while (low < high) {
    const uint32_t middle = low + (high - low) / 2;
    Sum sum = 0;
    uint32_t below = 0, above = ~0u;
    places.each([&](int, uint32_t& rank) {
      if (rank > middle) {
        sum += By::worth(rank);
        above = rank < above ? rank : above;
      } else {
        below = rank > below ? rank : below;
      }
    });
    if (first + By::total(sum) < wanted) {
      below = __reduce_max_sync(~0u, below);
      high = below > low ? below : low;
    } else {
      low = __reduce_min_sync(~0u, above);
    }
  }
  if (low == 0) return {0, 0};
  Sum above = 0;
  int most = 0;
  places.each([&](int, uint32_t& rank) {
    if (rank > low) above += By::worth(rank);
    if (rank == low) most++;
  });
  most = __reduce_add_sync(~0u, most);
  int ties = 0;
  const double step = By::worth(low);
  for (double sum = first + By::total(above); sum < wanted && ties < most; sum += step) ties++;
  return {low, ties};
}

/* Marks the chosen tiles of a unit; returns how many. */
template <class Places>
__device__ inline int mark(Places& places, Border border, const Params& args, const float* mass,
                           int first, int size, float* marks) {
  int count = 0, ties = 0;
  const unsigned before = (1u << (threadIdx.x % 32)) - 1;
  places.each([&](int at, uint32_t& rank) {
    const int tile = first + at;
    const bool is_there = at < size;
    const bool always =
        is_there && (args.keep >= 1 || tile < args.first_tiles || isnan(mass[tile]));
    const bool is_tie = rank != 0 && rank == border.rank;
    const unsigned tied = __ballot_sync(~0u, is_tie);
    const bool taken =
        always || rank > border.rank || (is_tie && ties + __popc(tied & before) < border.ties);
    if (is_there) marks[tile] = taken ? 1.0f : 0.0f;
    ties += __popc(tied);
    count += __popc(__ballot_sync(~0u, taken));
  });
  return count;
}

template <class Places>
__device__ inline int choose(Places places, const Params& args, const float* mass, int first,
                             int size, float* marks) {
  double total = 0, taken = 0;
  int always = 0;
  const int lane = static_cast<int>(threadIdx.x % 32);
#pragma unroll 8
  for (int at = lane; at < size; at += 32) {
    const float value = mass[first + at];
    const bool is_first = first + at < args.first_tiles, is_number = !isnan(value);
    always += is_first || !is_number ? 1 : 0;
    total += is_number ? value : 0.0f;
    taken += is_number && is_first ? value : 0.0f;
  }
  const double keep = args.keep;
  const double wanted =
      args.by_threshold != 0 ? keep * warp_sum(total) : ceil(keep * (1 - 0x1p-20) * size);
  const double have = args.by_threshold != 0 ? warp_sum(taken)
                                             : static_cast<double>(__reduce_add_sync(~0u, always));
  const Border border = args.by_threshold != 0 ? find_border<ByMass>(places, have, wanted)
                                               : find_border<ByCount>(places, have, wanted);
  return mark(places, border, args, mass, first, size, marks);
}

__device__ inline int choose_unit(const Params& args, const float* mass, int first, int size,
                                  float* marks) {
  const auto read = [=, &args](int at) -> uint32_t {
    return at < size ? rank_of(args, mass, first + at) : 0;
  };
  if (size <= 32 * 4) {
    return choose(Held<4, uint32_t>(size, read), args, mass, first, size, marks);
  }
  if (size <= 32 * kHeld) {
    return choose(Held<kHeld, uint32_t>(size, read), args, mass, first, size, marks);
  }
  return choose(Anew<uint32_t, decltype(read)>(size, read), args, mass, first, size, marks);
}

/* Writes the numbers of the tiles: those that are marked from list[0] on, the others from `count` on. */
__device__ inline void write_list(int32_t* list, const float* marks, int tiles, int count) {
  __shared__ int chosen[kWarps];
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  int before = 0;
  for (int first = 0; first < tiles; first += kThreads) {
    const int tile = first + static_cast<int>(threadIdx.x);
    const bool taken = tile < tiles && marks[tile] != 0;
    const unsigned all = __ballot_sync(~0u, taken);
    __syncthreads(); /* the counts before may still be read */
    if (lane == 0) chosen[warp] = __popc(all);
    __syncthreads();
    int own = before + __popc(all & ((1u << lane) - 1));
    for (int i = 0; i < kWarps; i++) {
      if (i < warp) own += chosen[i];
      before += chosen[i];
    }
    if (tile < tiles) list[taken ? own : count + tile - own] = tile;
  }
}

__global__ void __launch_bounds__(kThreads) select_kernel(const __grid_constant__ Job job) {
  __shared__ int count;
  const Params& args = job.args;
  const int64_t head = blockIdx.x;
  const int tiles = tiles_of(args, head / args.kv_heads);
  if (tiles < 0) {
    if (threadIdx.x == 0) args.counts[head] = -1;
    return;
  }
  if (threadIdx.x == 0) count = 0;
  float* logits = job.logits + head * job.rows * args.index_stride;
  float* mass = args.mass + head * args.index_stride;
  const int rows = static_cast<int>(args.q_tokens) * static_cast<int>(args.q_heads / args.kv_heads);
  const int unit = args.unit_tiles == 0 || args.unit_tiles > tiles
                       ? (tiles > 0 ? tiles : 1)
                       : static_cast<int>(args.unit_tiles);
  const int units = (tiles + unit - 1) / unit, warp = threadIdx.x / 32;
  for (int64_t i = warp; i < static_cast<int64_t>(rows) * units; i += kWarps) {
    const int first = static_cast<int>(i % units) * unit;
    soften_unit(logits + i / units * args.index_stride + first, min(unit, tiles - first));
  }
  __syncthreads();
  for (int tile = threadIdx.x; tile < tiles; tile += kThreads) {
    float sum = 0;
#pragma unroll 4
    for (int row = 0; row < rows; row++) sum += logits[row * args.index_stride + tile];
    mass[tile] = sum;
  }
  __syncthreads();
  /* The first row's place is the marks' from here on. */
  for (int i = warp; i < units; i += kWarps) {
    const int first = i * unit;
    const int chosen = choose_unit(args, mass, first, min(unit, tiles - first), logits);
    if (threadIdx.x % 32 == 0) atomicAdd(&count, chosen);
  }
  __syncthreads();
  write_list(args.indices + head * args.index_stride, logits, tiles, count);
  if (threadIdx.x == 0) args.counts[head] = count;
}

/* Some sequences of the call by themselves. */
Params part_of(const Params& args, int64_t first, int64_t sequences) {
  Params part = args;
  const int64_t heads = first * args.kv_heads;
  part.counts = args.counts + heads;
  part.indices = args.indices + heads * args.index_stride;
  part.mass = args.mass + heads * args.index_stride;
  part.q = static_cast<const bf16*>(args.q) + first * args.q_tokens * args.q_heads * args.head_dim;
  part.first_row = args.first_row == nullptr ? nullptr : args.first_row + first;
  part.pooled_tiles = args.pooled_tiles + first;
  part.sequences = sequences;
  return part;
}

}  // namespace

sx_status decode_select(Context& context, const Params& args) {
  if (args.sequences == 0) return SX_OK;
  const int64_t rows = max64(1, args.q_tokens * (args.q_heads / args.kv_heads));
  const int64_t bytes = max64(4, args.kv_heads * rows * args.index_stride * 4);
  const int64_t room = max64(1, kFirstScratchBytes / bytes);
  const int64_t most = ceil_div(args.sequences, ceil_div(args.sequences, room));
  const bool aligned = is_aligned(args.q) && is_aligned(args.mean_keys) &&
                       is_aligned(args.spread) && is_aligned(args.codes) &&
                       args.mean_head_stride % 8 == 0 && args.code_head_stride % 4 == 0;
  float* logits = static_cast<float*>(scratch(context, kOp, most * bytes));
  if (logits == nullptr) return SX_OUT_OF_MEMORY;
  for (int64_t first = 0; first < args.sequences; first += most) {
    const Params part = part_of(args, first, min64(most, args.sequences - first));
    const Job job = {part, logits, static_cast<int>(rows), aligned};
    const int64_t heads = part.sequences * args.kv_heads;
    if (args.index_stride > 0 && args.q_tokens > 0) {
      auto kernel = args.head_dim == 128 ? logits_kernel<128> : logits_kernel<64>;
      const int64_t blocks = ceil_div(args.index_stride, kLogitWarps);
      kernel<<<static_cast<unsigned>(heads * blocks), kLogitThreads, 0, context.stream>>>(
          job, static_cast<unsigned>(blocks));
      SX_RETURN_IF_BAD(launched(context, kOp));
    }
    select_kernel<<<static_cast<unsigned>(heads), kThreads, 0, context.stream>>>(job);
    SX_RETURN_IF_BAD(launched(context, kOp));
  }
  return SX_OK;
}

}  // namespace cuda
}  // namespace sx
