/*
 * What dense and block-sparse attention share: the parameters as the device sees them, and the walk
 * over the tiles of keys that a row block needs.
 *
 * A tile never crosses from the prefix into the own segment, so that its rows lie at one stride.
 */
#ifndef SX_CUDA_ATTENTION_CUH
#define SX_CUDA_ATTENTION_CUH

#include "../abi/window.h"
#include "element.cuh"
#include "ops.cuh"

namespace sx {
namespace cuda {

/* One segment of keys and values. */
struct Segment {
  const bf16* keys;
  const bf16* values;
  int64_t tokens, token_stride, head_stride;
};

struct AttentionParams {
  void* out;
  float* lse_log2; /* nullable */
  const bf16* q;
  Segment prefix, own;
  const int32_t* counts; /* null for dense attention */
  const int32_t* indices;
  int64_t index_stride;
  int64_t q_offset, q_tokens;
  Window window;
  int q_tiles, q_heads, group; /* group: query heads per key head */
  sx_dtype out_dtype;
  bool aligned;     /* 16-byte accesses to queries, keys and values */
  bool out_aligned; /* accesses to pairs of the output */
  bool negate;      /* the scale is negative: queries change their sign */
  bool windowed;    /* there is a window, though it may hide nothing from this call */
  float scale_log2; /* |scale| * log2(e), above 0 */
};

/* A scale of 0 would make 0 * -inf of a masked logit; one that is too small to move any logit does
 * the same work. */
constexpr float kSmallestScale = 1e-30f;

/* Rows of queries that one block of threads owns: SX_TILE, so that each has one list of blocks. */
constexpr int kRowBlock = SX_TILE;

inline AttentionParams make_params(const AttentionArgs& args) {
  const sx_key_values& kv = args.kv;
  AttentionParams params = {};
  params.out = args.out;
  params.lse_log2 = args.lse_log2;
  params.q = static_cast<const bf16*>(args.q);
  params.prefix = {static_cast<const bf16*>(kv.prefix_keys),
                   static_cast<const bf16*>(kv.prefix_values), kv.prefix_tokens,
                   kv.prefix_token_stride, kv.prefix_head_stride};
  params.own = {static_cast<const bf16*>(kv.keys), static_cast<const bf16*>(kv.values),
                kv.key_tokens, kv.token_stride, kv.head_stride};
  params.counts = args.counts;
  params.indices = args.indices;
  params.index_stride = args.index_stride;
  params.q_offset = args.q_offset;
  params.q_tokens = args.q_tokens;
  params.window = window_of(kv, args.window);
  params.q_tiles = static_cast<int>(ceil_div(args.q_tokens, kRowBlock));
  params.q_heads = static_cast<int>(args.q_heads);
  params.group = static_cast<int>(args.q_heads / kv.kv_heads);
  params.out_dtype = args.out_dtype;
  params.aligned =
      is_aligned(args.q) && is_aligned(kv.keys) && is_aligned(kv.values) &&
      is_aligned(kv.prefix_keys) && is_aligned(kv.prefix_values) &&
      (kv.token_stride | kv.head_stride | kv.prefix_token_stride | kv.prefix_head_stride) % 8 == 0;
  params.out_aligned = is_aligned(args.out);
  params.negate = args.scale < 0;
  params.windowed = args.windowed;
  const float scale = (args.scale < 0 ? -args.scale : args.scale) * 1.44269504088896341f;
  params.scale_log2 = scale > kSmallestScale ? scale : kSmallestScale;
  return params;
}

/* A tile of keys: rows `first`.. of a segment, of which `count` (0 or less: none) may be read. */
struct Tile {
  bool is_prefix;
  int64_t first;
  int64_t base; /* the number of its first key in the sequence */
  int count;
};

/* The tiles of kKeys keys that one row block of one head needs, in ascending order. */
template <int kKeys, bool kSparse>
struct TileWalk {
  static_assert(SX_TILE % kKeys == 0, "a chosen block is whole tiles");
  static constexpr int kPerBlock = SX_TILE / kKeys;
  static constexpr int kWidth = kKeys;

  int64_t prefix_tokens;
  int64_t visible; /* keys that the block's last row sees; a reader may touch no later one */
  int prefix_tiles;
  int first_tile; /* of dense attention: those before it lie before the window of all rows */
  int tiles;
  const int32_t* list;

  __device__ TileWalk(const AttentionParams& params, int head, int q_block) {
    const int64_t last = min64((q_block + 1ll) * kRowBlock, params.q_tokens) - 1;
    prefix_tokens = params.prefix.tokens;
    visible = min64(params.q_offset + last + 1, prefix_tokens + params.own.tokens);
    prefix_tiles = static_cast<int>(ceil_div(prefix_tokens, kKeys));
    list = nullptr;
    first_tile = 0;
    if constexpr (kSparse) {
      const int64_t row = static_cast<int64_t>(head) * params.q_tiles + q_block;
      tiles = params.counts[row] * kPerBlock;
      list = params.indices + row * params.index_stride;
    } else {
      tiles = static_cast<int>(visible <= prefix_tokens
                                   ? ceil_div(visible, kKeys)
                                   : prefix_tiles + ceil_div(visible - prefix_tokens, kKeys));
      const int64_t first = params.window.first_key(params.q_offset + q_block * 1ll * kRowBlock);
      first_tile = static_cast<int>(
          first < prefix_tokens ? first / kKeys : prefix_tiles + (first - prefix_tokens) / kKeys);
      tiles = first_tile < tiles ? tiles - first_tile : 0;
    }
  }

  __device__ Tile tile(int n) const {
    Tile tile;
    if constexpr (kSparse) {
      tile.base = static_cast<int64_t>(list[n / kPerBlock]) * SX_TILE + n % kPerBlock * kKeys;
      tile.is_prefix = tile.base < prefix_tokens;
      tile.first = tile.is_prefix ? tile.base : tile.base - prefix_tokens;
    } else {
      n += first_tile;
      tile.is_prefix = n < prefix_tiles;
      tile.first = static_cast<int64_t>(tile.is_prefix ? n : n - prefix_tiles) * kKeys;
      tile.base = tile.is_prefix ? tile.first : prefix_tokens + tile.first;
    }
    const int64_t end = tile.is_prefix ? min64(prefix_tokens, visible) : visible;
    tile.count = static_cast<int>(max64(0, min64(end - tile.base, kKeys)));
    return tile;
  }
};

/* The work of a block of threads. The heads of a key head lie side by side, so that their reads of
 * the same keys meet in the cache; the longest rows come first. */
struct Job {
  int head, q_block;

  __device__ Job(const AttentionParams& params, int64_t number)
      : head(static_cast<int>(number % params.q_heads)),
        q_block(params.q_tiles - 1 - static_cast<int>(number / params.q_heads)) {}
};

/* Whether Hopper's copy engine can walk a segment: rows that 31 bits count, and no distance of 0 or
 * of 2^40 bytes. */
inline bool can_be_mapped(const Segment& segment, int heads) {
  const auto fits = [](int64_t count, int64_t stride) {
    return count <= 1 || (stride > 0 && stride < (1ll << 39));
  };
  return segment.tokens < (1ll << 30) && fits(segment.tokens, segment.token_stride) &&
         (segment.tokens == 0 || fits(heads, segment.head_stride));
}

/* Whether the Hopper build takes a call. Layout alone decides, never values: its copy engine needs
 * addresses and distances of 16 bytes. The others and a negative scale are the generic build's, and that
 * of all chunks of a sequence, as sums differ in the last bit. */
inline bool fits_hopper(const Context& context, const AttentionParams& params) {
  const int kv_heads = params.q_heads / params.group;
  return context.hopper && params.aligned && params.out_aligned && !params.negate &&
         params.q_tokens < (1ll << 30) && can_be_mapped(params.own, kv_heads) &&
         can_be_mapped(params.prefix, kv_heads);
}

sx_status attention_dense_sm90(Context& context, const AttentionParams& params, int64_t kv_heads,
                               int64_t head_dim);
sx_status attention_block_sparse_sm90(Context& context, const AttentionParams& params,
                                      int64_t kv_heads, int64_t head_dim);

}  // namespace cuda
}  // namespace sx

#endif
