/*
 * Keys of tiles in two bits a number (see sx_key_codes in ../sx_attention.h).
 *
 * spread[d] = mean over the tile's keys of |k[d] - m[d]|, code[d] = where k[d] - m[d] lies among
 * -SX_CODE_EDGE * spread, 0, SX_CODE_EDGE * spread; f32, key after key, so that every instruction set
 * gives the same bits. A unit is a tile of a head. Bytes read 2*D*sizeof(kv) a key, the second time from
 * the cache; written D/4.
 */
#include <math.h>

#include "ops.h"
#include "simd.h"
#include "thread_pool.h"

namespace sx {
namespace SX_ISA {

namespace {

/* The largest head size. */
constexpr int64_t kMostDim = 128;

template <class From>
void widen_row(float* to, const From* from, int64_t dim) {
  for (int64_t d = 0; d < dim; d += kLanes) store(to + d, load(from + d));
}

/* The word of 16 numbers. */
SX_INLINE int32_t word_of(const float* key, const float* mean, const float* edge) {
  uint32_t word = 0;
  for (uint32_t d = 0; d < 16; d++) {
    const float distance = key[d] - mean[d];
    /* Each holds if the one before does; none does for NaN. */
    const uint32_t below = static_cast<uint32_t>(distance < edge[d]) +
                           static_cast<uint32_t>(distance < 0) +
                           static_cast<uint32_t>(distance < -edge[d]);
    word |= (3 - below) << (2 * d);
  }
  return static_cast<int32_t>(word);
}

template <class Key, class Mean>
void encode_tile(const sx_key_codes_params& args, int64_t head, int64_t tile) {
  const int64_t dim = args.head_dim, words = dim / 16;
  const Key* keys = static_cast<const Key*>(args.keys) + head * args.head_stride +
                    tile * SX_TILE * args.token_stride;
  const int64_t at = head * args.mean_head_stride + tile * dim;
  Mean* spread = static_cast<Mean*>(args.spread) + at;
  int32_t* codes = args.codes + head * args.code_head_stride + tile * SX_TILE * words;
  float mean[kMostDim], sums[kMostDim] = {}, key[kMostDim];
  widen_row(mean, static_cast<const Mean*>(args.mean_keys) + at, dim);
  for (int64_t j = 0; j < SX_TILE; j++) {
    widen_row(key, keys + j * args.token_stride, dim);
    for (int64_t d = 0; d < dim; d++) sums[d] += fabsf(key[d] - mean[d]);
  }
  for (int64_t d = 0; d < dim; d += kLanes) {
    store(spread + d, mul(load(sums + d), broadcast(1.0f / SX_TILE)));
    store(sums + d, mul(load(spread + d), broadcast(SX_CODE_EDGE)));
  }
  for (int64_t j = 0; j < SX_TILE; j++) {
    widen_row(key, keys + j * args.token_stride, dim);
    for (int64_t w = 0; w < words; w++) {
      codes[j * words + w] = word_of(key + 16 * w, mean + 16 * w, sums + 16 * w);
    }
  }
}

template <class Key, class Mean>
void encode_tiles(Context& context, const sx_key_codes_params& args) {
  const int64_t units = args.kv_heads * args.tile_count;
  parallel_for(context, units, 1, [&](int64_t begin, int64_t end, int32_t) {
    for (int64_t unit = begin; unit < end; unit++) {
      encode_tile<Key, Mean>(args, unit / args.tile_count,
                             args.first_tile + unit % args.tile_count);
    }
  });
}

}  // namespace

sx_status key_codes(Context& context, const sx_key_codes_params& args) {
  const bool from_bf16 = args.kv_dtype == SX_BF16, to_bf16 = args.mean_dtype == SX_BF16;
  const auto run = from_bf16 ? (to_bf16 ? encode_tiles<bf16, bf16> : encode_tiles<bf16, float>)
                             : (to_bf16 ? encode_tiles<float, bf16> : encode_tiles<float, float>);
  run(context, args);
  return SX_OK;
}

}  // namespace SX_ISA
}  // namespace sx
