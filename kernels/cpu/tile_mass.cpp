/*
 * The exact attention mass of every tile of 128 x 128 (see sx_tile_mass in ../sx_attention.h).
 *
 * mass[h,b,c] = sum over visible pairs of 2^(log2(e) * scale * q . k - lse_log2[t,h]). The log-sum-exp
 * is known, so that a tile is a product and a sum: nothing is corrected later. FLOPs 2*D*HQ per
 * visible pair, rounded up to whole tiles; bytes read T*HQ*D*4 + N*HK*D*sizeof(k) for every unit.
 *
 * A unit is a row tile of all query heads of a key head: each tile of keys is packed once for all of
 * its rows, which are scaled once. Sums in f32, row after row of a tile, then over its rows.
 */
#include <math.h>

#include "attention_tile.h"
#include "thread_pool.h"

namespace sx {
namespace SX_ISA {

namespace {

static_assert(SX_TILE % kMicroColumns == 0, "a tile of keys is whole panels");

/* The longest head that attention takes. */
constexpr int64_t kMostDim = 128;

/* A worker's memory: packed keys, scaled queries of all query heads, logits of some rows. */
int64_t worker_floats(int64_t group, int64_t dim) {
  return SX_TILE * dim + group * (SX_TILE + kMicroRows) * dim + kMicroRows * SX_TILE;
}

/* The work of one unit in the memory of one worker. */
template <int D>
class MassUnit {
 public:
  MassUnit(const sx_tile_mass_params& params, int64_t kv_head, int64_t row_tile, float* memory)
      : args_(params.tiles),
        lse_log2_(params.lse_log2),
        group_(args_.q_heads / args_.kv.kv_heads),
        kv_head_(kv_head),
        row_tile_(row_tile),
        first_(row_tile * SX_TILE),
        rows_(min64(SX_TILE, args_.q_tokens - first_)),
        keys_(memory),
        queries_(keys_ + SX_TILE * D),
        logits_(queries_ + group_ * (SX_TILE + kMicroRows) * D) {}

  void run() {
    const int64_t key_tiles = ceil_div(all_keys(args_.kv), SX_TILE);
    const int64_t q_tiles = ceil_div(args_.q_tokens, SX_TILE);
    const int64_t own = args_.q_offset / SX_TILE + row_tile_;
    const int64_t first = window_of(args_.kv, args_.window).first_tile(own);
    for (int64_t n = 0; n < group_; n++) load_queries(n);
    for (int64_t tile = 0; tile < key_tiles; tile++) {
      const bool seen = tile >= first && tile <= own;
      if (seen) pack_keys(tile);
      for (int64_t n = 0; n < group_; n++) {
        const int64_t row = (kv_head_ * group_ + n) * q_tiles + row_tile_;
        args_.mass[row * key_tiles + tile] = seen ? sum_tile(n, tile) : 0;
      }
    }
  }

 private:
  float* queries(int64_t n) const { return queries_ + n * (SX_TILE + kMicroRows) * D; }

  void load_queries(int64_t n) {
    const Vec scale = broadcast(args_.scale * 1.44269504088896341f);
    for (int64_t r = 0; r < rows_; r++) {
      const int64_t row = (first_ + r) * args_.q_heads + kv_head_ * group_ + n;
      const float* q = static_cast<const float*>(args_.q) + row * D;
      for (int64_t d = 0; d < D; d += kLanes) {
        store(queries(n) + r * D + d, mul(load(q + d), scale));
      }
    }
  }

  /* Packs a tile of keys, zeros past the last one. */
  void pack_keys(int64_t tile) {
    const sx_key_values& kv = args_.kv;
    const int64_t first = tile * SX_TILE, count = min64(SX_TILE, all_keys(kv) - first);
    const char* rows = key_address(kv, kv_head_, first);
    const int64_t bytes = row_bytes(kv, first);
    if (kv.dtype == SX_BF16) {
      pack_transposed<true>(keys_, D, rows, bytes, count, SX_TILE, D);
    } else {
      pack_transposed<false>(keys_, D, rows, bytes, count, SX_TILE, D);
    }
  }

  float sum_tile(int64_t n, int64_t tile) {
    float sum = 0;
    for (int64_t r = 0; r < rows_; r += kMicroRows) {
      with_rows<kMicroRows>(min64(kMicroRows, rows_ - r),
                            [&](auto size) { sum += this->template sum_rows<size()>(n, r, tile); });
    }
    return sum;
  }

  template <int R>
  float sum_rows(int64_t n, int64_t first_row, int64_t tile) {
    Vec c[R][2];
    for (int64_t k = 0; k < SX_TILE; k += kMicroColumns) {
      multiply_panel<R, D>(queries(n) + first_row * D, keys_ + k * D, D, c);
#pragma GCC unroll 16
      for (int r = 0; r < R; r++) {
        store(logits_ + r * SX_TILE + k, c[r][0]);
        store(logits_ + r * SX_TILE + k + kLanes, c[r][1]);
      }
    }
    float sum = 0;
    for (int r = 0; r < R; r++) sum += weigh(n, first_row + r, tile, logits_ + r * SX_TILE);
    return sum;
  }

  /* The weights of a row's keys in a tile, added up. */
  __attribute__((noinline)) float weigh(int64_t n, int64_t r, int64_t tile, float* logits) const {
    const int64_t token = first_ + r, place = args_.q_offset + token;
    const int64_t end = min64(SX_TILE, place + 1 - tile * SX_TILE);
    const int64_t first_key = window_of(args_.kv, args_.window).first_key(place);
    const int64_t begin = max64(0, first_key - tile * SX_TILE);
    if (begin >= end) return 0;
    for (int64_t k = 0; k < begin; k++) logits[k] = -INFINITY;
    const int64_t padded = round_up(end, kLanes);
    for (int64_t k = end; k < padded; k++) logits[k] = -INFINITY;
    const int64_t head = kv_head_ * group_ + n;
    const Vec shift = broadcast(lse_log2_[token * args_.q_heads + head]);
    Vec sum = zero();
    for (int64_t k = 0; k < padded; k += kLanes) sum = add(sum, exp2(sub(load(logits + k), shift)));
    return reduce_add(sum);
  }

  const sx_antidiagonal_score_params& args_;
  const float* lse_log2_;
  int64_t group_, kv_head_, row_tile_, first_, rows_;
  float* keys_;    /* panels [D][kMicroColumns] */
  float* queries_; /* [group][SX_TILE and some][D] */
  float* logits_;  /* [kMicroRows][SX_TILE] */
};

}  // namespace

sx_status tile_mass(Context& context, const sx_tile_mass_params& params) {
  const sx_antidiagonal_score_params& args = params.tiles;
  static_assert(kMostDim == 128, "the two head sizes below");
  const int64_t dim = args.kv.head_dim, kv_heads = args.kv.kv_heads;
  const int64_t q_tiles = ceil_div(args.q_tokens, SX_TILE);
  const int64_t floats = round_up(worker_floats(args.q_heads / kv_heads, dim), 16);
  const int64_t bytes = floats * 4 * context.threads;
  float* memory = static_cast<float*>(scratch(context, bytes));
  if (memory == nullptr) return out_of_scratch(context, "tile_mass", bytes);
  parallel_for(context, kv_heads * q_tiles, 1, [&](int64_t begin, int64_t end, int32_t worker) {
    for (int64_t unit = begin; unit < end; unit++) {
      /* The longest rows first. */
      const int64_t row_tile = q_tiles - 1 - unit / kv_heads;
      float* own = memory + worker * floats;
      if (dim == 64) {
        MassUnit<64>(params, unit % kv_heads, row_tile, own).run();
      } else {
        MassUnit<128>(params, unit % kv_heads, row_tile, own).run();
      }
    }
  });
  return SX_OK;
}

}  // namespace SX_ISA
}  // namespace sx
