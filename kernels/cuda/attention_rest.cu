/*
 * What block-sparse attention did not read, by the means of its tiles (see sx_attention_rest in
 * ../sx_attention.h).
 *
 * The kernel of attention_tile.cuh with means in place of keys and values: a block of 256 threads owns
 * a row tile of a head, lists its rest (a mask of bits, made of the chosen tiles and turned around)
 * and gathers the means of 64 tiles at a time, so that those of other tiles are not even read. At the
 * end the sums meet those of the chosen tiles; in powers of two a tile's weight of 128 keys is 7 more
 * in the exponent. FLOPs 4*D*HQ per query and tile of the rest; bytes T*HQ*D*(2 + 4 + out) besides the
 * means, which come from L2. Shared memory 64 KiB (32 at head size 64) and the list's 8.5 KiB.
 */
#include <type_traits>

#include "attention_tile.cuh"

namespace sx {
namespace cuda {

namespace {

constexpr float kTileLog2 = 7;
static_assert(SX_TILE == 1 << 7, "the logarithm of a tile's keys");

/* Tiles that are listed at a time: those of 524,288 tokens, 16 bits each. */
constexpr int kListTiles = 4096;
constexpr int kWords = kListTiles / 32;
static_assert(kWords == 4 * 32 && kWords <= kTileThreads, "four warps have a word a lane");

struct RestArgs {
  void* out;
  float* lse_log2;
  const float* partial;
  const float* partial_lse_log2;
  const bf16* q;
  const bf16* mean_keys;
  const bf16* mean_values;
  const int32_t* counts;
  const int32_t* indices;
  int64_t index_stride, mean_head_stride, q_tokens, q_offset;
  Window window;
  int q_tiles, q_heads, group;
  sx_dtype out_dtype;
  bool aligned, out_aligned, partial_aligned, negate;
  float scale_log2;
};

/* The tiles of a row's rest. */
struct RestList {
  uint32_t words[kWords];     /* a bit for each tile: it is in the list */
  int counts[kWords / 32];    /* tiles of each warp's words */
  uint16_t tiles[kListTiles]; /* numbers, counted from `base` on, ascending */
  int count;
  int64_t base;
};

/* Lists the tiles base.. to end - 1 that are not among the `count` chosen ones, kListTiles at most.
 * All threads come together. */
__device__ inline void list_rest(RestList& list, const int32_t* chosen, int count, int64_t base,
                                 int64_t end) {
  const int thread = threadIdx.x, lane = thread % 32;
  __syncthreads(); /* all are done with the list before */
  if (thread < kWords) {
    const int64_t left = end - base - 32 * thread;
    list.words[thread] = left >= 32 ? ~0u : left > 0 ? (1u << left) - 1 : 0;
  }
  if (thread == 0) list.base = base;
  __syncthreads();
  for (int i = thread; i < count; i += kTileThreads) {
    const int64_t bit = chosen[i] - base;
    if (bit >= 0 && bit < kListTiles) atomicAnd(&list.words[bit / 32], ~(1u << bit % 32));
  }
  __syncthreads();
  uint32_t word = thread < kWords ? list.words[thread] : 0;
  int before = __popc(word);
#pragma unroll
  for (int step = 1; step < 32; step <<= 1) {
    const int other = __shfl_up_sync(~0u, before, step);
    if (lane >= step) before += other;
  }
  if (thread < kWords && lane == 31) list.counts[thread / 32] = before;
  before -= __popc(word);
  __syncthreads();
  for (int warp = 0; warp < kWords / 32; warp++) {
    if (warp < thread / 32) before += list.counts[warp];
  }
  if (thread == kWords - 1) list.count = before + __popc(word);
  for (; word != 0; word &= word - 1) {
    list.tiles[before++] = static_cast<uint16_t>(thread * 32 + __ffs(word) - 1);
  }
  __syncthreads();
}

/* The means of the list's entries first.. to shared memory, zeros behind its end. */
template <int kDim>
__device__ inline void gather_means(uint32_t to, const bf16* means, const RestList& list, int first,
                                    bool aligned) {
  constexpr int kChunks = kDim / 8;
#pragma unroll
  for (int i = 0; i < kTileKeys * kChunks / kTileThreads; i++) {
    const int n = i * kTileThreads + threadIdx.x;
    const int row = n / kChunks, chunk = n % kChunks;
    const bool is_there = first + row < list.count;
    const int64_t tile = is_there ? list.base + list.tiles[first + row] : 0;
    copy_row8(chunk_address<kDim>(to, row, chunk), means + tile * kDim + chunk * 8, is_there,
              aligned);
  }
}

/* How many of the list's entries first.. to first + kTileKeys - 1 begin before a key. */
__device__ inline int entries_before(const RestList& list, int first, int64_t key) {
  int count = 0;
  while (count < kTileKeys && first + count < list.count &&
         (list.base + list.tiles[first + count]) * SX_TILE < key) {
    count++;
  }
  return count;
}

/* Adds the mean values of the list's entries first.. that are not finite to those of a warp's rows in
 * whose window they lie: clean_values() has taken them from the product. */
template <int kDim>
__device__ inline void add_unfinite(WarpState<kDim>& state, const bf16* values,
                                    const RestList& list, int first, const int (&hidden)[2]) {
  for (int entry = 0; entry < kTileKeys && first + entry < list.count; entry++) {
    const bf16* mean =
        values + (list.base + list.tiles[first + entry]) * kDim + threadIdx.x % 4 * 2;
#pragma unroll
    for (int n = 0; n < kDim / 8; n++) {
#pragma unroll
      for (int i = 0; i < 4; i++) {
        const float value = widen(mean[n * 8 + i % 2]);
        if (entry >= hidden[i / 2] && !isfinite(value)) state.out[n][i] += value;
      }
    }
  }
}

/* Adds the means of all entries of the list to a warp's rows; `last_place` is that of the block's last
 * row. */
template <int kDim>
__device__ inline void add_means(WarpState<kDim>& state, const RestArgs& args, const RestList& list,
                                 uint32_t base, int64_t head_at, int64_t row_place,
                                 int64_t last_place) {
  constexpr int kStageBytes = kTileKeys * kDim * 2;
  const bf16* keys = args.mean_keys + head_at;
  const bf16* values = args.mean_values + head_at;
  const auto copy = [&](int first, uint32_t slot) {
    gather_means<kDim>(slot, keys, list, first, args.aligned);
    gather_means<kDim>(slot + kStageBytes, values, list, first, args.aligned);
  };
  const auto take = [&](int first, auto hides) {
    const int n = first / kTileKeys;
    const uint32_t slot = base + n % 2 * 2 * kStageBytes;
    if (first + kTileKeys < list.count) {
      copy(first + kTileKeys, base + (n + 1) % 2 * 2 * kStageBytes);
    }
    commit_copies();
    wait_copies<1>();
    __syncthreads();
    bool cleaned = false;
    if constexpr (decltype(hides)::value) cleaned = clean_values<kDim>(slot + kStageBytes);
    float logits[kTileKeys / 8][4];
    multiply_keys(logits, state, slot);
    const int count = list.count - first;
    if (count < kTileKeys) mask_logits(logits, count, count);
    int hidden[2] = {0, 0};
    if constexpr (decltype(hides)::value) {
      hidden[0] = entries_before(list, first, args.window.first_key(row_place));
      hidden[1] = entries_before(list, first, args.window.first_key(row_place + 8));
      mask_before(logits, hidden[0], hidden[1]);
    }
    soften(logits, state, args.scale_log2);
    multiply_values(state, logits, slot + kStageBytes);
    if (cleaned) add_unfinite(state, values, list, first, hidden);
    __syncthreads();
  };
  if (list.count > 0) copy(0, base);
  commit_copies();
  int first = 0;
  /* Tiles in front of the window of some row come first. */
  const int64_t seen = args.window.first_key(last_place);
  for (; seen > 0 && entries_before(list, first, seen) > 0; first += kTileKeys) {
    take(first, std::true_type{});
  }
  for (; first < list.count; first += kTileKeys) take(first, std::false_type{});
}

__device__ inline float2 load_pair(const float* in, bool aligned) {
  return aligned ? *reinterpret_cast<const float2*>(in) : make_float2(in[0], in[1]);
}

/* Writes a warp's rows: their partial attention, and with it what was summed here. */
template <int kDim>
__device__ inline void write_merged(const RestArgs& args, const WarpState<kDim>& state,
                                    int64_t first_token, int head) {
  const int lane = threadIdx.x % 32;
  const int64_t token = first_token + threadIdx.x / 32 * 16 + lane / 4;
  float partials[2];
#pragma unroll
  for (int half = 0; half < 2; half++) {
    const int64_t t = token + half * 8;
    partials[half] = t < args.q_tokens ? args.partial_lse_log2[t * args.q_heads + head] : 0;
  }
  __syncwarp(); /* all lanes have read what one of them may write over */
#pragma unroll
  for (int half = 0; half < 2; half++) {
    const float sum = quad_sum(state.sum[half]), partial_lse = partials[half];
    const int64_t t = token + half * 8;
    if (t >= args.q_tokens) continue;
    const int64_t row = t * args.q_heads + head;
    float keep = 1, factor = 0, lse = partial_lse;
    if (sum != 0) { /* NaN stays NaN */
      const float max = state.max[half] * args.scale_log2 + kTileLog2;
      const float top = max > partial_lse ? max : partial_lse;
      keep = fast_exp2(partial_lse - top);
      factor = fast_exp2(max - top);
      const float total = keep + factor * sum, inverse = 1 / total;
      keep *= inverse;
      factor *= inverse;
      lse = top + log2f(total);
    }
    const int64_t first = row * kDim + lane % 4 * 2;
    /* All of a row at once: out may be partial, so that no load passes a store. */
    float2 pairs[kDim / 8];
#pragma unroll
    for (int n = 0; n < kDim / 8; n++) {
      pairs[n] = load_pair(args.partial + first + n * 8, args.partial_aligned);
    }
#pragma unroll
    for (int n = 0; n < kDim / 8; n++) {
      float2 pair = pairs[n];
      if (sum != 0) {
        pair.x = pair.x * keep + state.out[n][2 * half] * factor;
        pair.y = pair.y * keep + state.out[n][2 * half + 1] * factor;
      }
      put_pair(args.out, args.out_dtype, first + n * 8, pair.x, pair.y, args.out_aligned);
    }
    if (args.lse_log2 != nullptr && lane % 4 == 0) args.lse_log2[row] = lse;
  }
}

template <int kDim>
__global__ void __launch_bounds__(kTileThreads, 1)
    attention_rest_kernel(const __grid_constant__ RestArgs args) {
  extern __shared__ __align__(128) unsigned char shared[];
  __shared__ RestList list;
  const uint32_t base = shared_address(shared);
  /* The longest rows first; heads that read the same means side by side. */
  const int head = static_cast<int>(blockIdx.x % args.q_heads);
  const int row_tile = args.q_tiles - 1 - static_cast<int>(blockIdx.x / args.q_heads);
  const int64_t first_token = static_cast<int64_t>(row_tile) * SX_TILE;
  const int64_t rows = min64(SX_TILE, args.q_tokens - first_token);
  copy_rows<kDim, SX_TILE>(base, args.q + (first_token * args.q_heads + head) * kDim,
                           static_cast<int64_t>(args.q_heads) * kDim, static_cast<int>(rows),
                           args.aligned);
  commit_copies();
  wait_copies<0>();
  __syncthreads();
  WarpState<kDim> state = {};
  state.max[0] = state.max[1] = -INFINITY;
  load_queries(state, base, args.negate);
  const int64_t row_place = args.q_offset + first_token + threadIdx.x / 32 * 16;
  const int64_t own = args.q_offset / SX_TILE + row_tile;
  const int64_t list_at = static_cast<int64_t>(head) * args.q_tiles + row_tile;
  const int32_t* chosen = args.indices + list_at * args.index_stride;
  const int64_t head_at = head / args.group * args.mean_head_stride;
  /* A tile of which the first query does not see all keys, none of the others does. */
  const int64_t first =
      ceil_div(args.window.first_key(args.q_offset + first_token), static_cast<int64_t>(SX_TILE));
  for (int64_t tile = first; tile < own; tile += kListTiles) {
    list_rest(list, chosen, args.counts[list_at], tile, own);
    add_means(state, args, list, base, head_at, row_place + threadIdx.x % 32 / 4,
              args.q_offset + first_token + SX_TILE - 1);
  }
  write_merged(args, state, first_token, head);
}

template <int kDim>
sx_status launch(Context& context, const RestArgs& args) {
  constexpr int kShared = tile_shared_bytes<kDim>();
  static_assert(kShared >= SX_TILE * kDim * 2, "the stages hold the queries first");
  auto kernel = attention_rest_kernel<kDim>;
  SX_RETURN_IF_BAD(allow_shared(context, "attend to the rest", kernel, kShared));
  const unsigned grid = static_cast<unsigned>(args.q_tiles) * args.q_heads;
  kernel<<<grid, kTileThreads, kShared, context.stream>>>(args);
  return launched(context, "attend to the rest");
}

}  // namespace

sx_status attention_rest(Context& context, const sx_attention_rest_params& args) {
  if (args.q_tokens == 0) return SX_OK;
  RestArgs device = {};
  device.out = args.out;
  device.lse_log2 = args.lse_log2;
  device.partial = args.partial;
  device.partial_lse_log2 = args.partial_lse_log2;
  device.q = static_cast<const bf16*>(args.q);
  device.mean_keys = static_cast<const bf16*>(args.mean_keys);
  device.mean_values = static_cast<const bf16*>(args.mean_values);
  device.counts = args.counts;
  device.indices = args.indices;
  device.index_stride = args.index_stride;
  device.mean_head_stride = args.mean_head_stride;
  device.q_tokens = args.q_tokens;
  device.q_offset = args.q_offset;
  device.window = {args.window, args.prefix_tokens, args.prefix_gap};
  device.q_tiles = static_cast<int>(ceil_div(args.q_tokens, SX_TILE));
  device.q_heads = static_cast<int>(args.q_heads);
  device.group = static_cast<int>(args.q_heads / args.kv_heads);
  device.out_dtype = args.out_dtype;
  device.aligned = is_aligned(args.q) && is_aligned(args.mean_keys) &&
                   is_aligned(args.mean_values) && args.mean_head_stride % 8 == 0;
  device.out_aligned = is_aligned(args.out);
  device.partial_aligned = is_aligned(args.partial);
  device.negate = args.scale < 0;
  const float scale = (args.scale < 0 ? -args.scale : args.scale) * 1.44269504088896341f;
  device.scale_log2 = scale > kSmallestScale ? scale : kSmallestScale;
  return args.head_dim == 128 ? launch<128>(context, device) : launch<64>(context, device);
}

}  // namespace cuda
}  // namespace sx
