/*
 * Antidiagonal mass of every tile of 128 x 128 (see sx_antidiagonal_score in ../sx_attention.h;
 * XAttention, arXiv 2503.16428, section 2.1).
 *
 * logits[i][j] = sum over s < S of q[i*S + S-1-s] . k[j*S + s] * scale / S for j <= i;
 * mass[b][c] = sum over the groups i of row tile b and j of key tile c of softmax_j(logits[i]).
 * Accumulates in f32. A product of [HQ * T/S] x [N/S] of depth S*D, causal half: FLOPs
 * HQ*T*N*D/S; bytes read T*HQ*D*4 + N*HK*D*sizeof(k) for every unit of work.
 *
 * A unit is some 252 rows: all query heads of a key head times the groups of some row tiles. It
 * walks the keys in chunks of 128 groups and the depth in steps of 256, packing keys once for all
 * its rows. Each chunk ends in an online softmax: the chunk's cells keep the maximum that they were
 * computed with, and are brought to the row's maximum and sum when the row is complete.
 */
#include <math.h>

#include "amx.h"
#include "attention_tile.h"
#include "thread_pool.h"

namespace sx {
namespace SX_ISA {

namespace {

/* Key groups per chunk and depth per step: a packed step takes 128 KiB, the logits of a unit take
 * 126 KiB, both in L2; every divisor of 128 divides a chunk into whole cells. */
constexpr int64_t kGroups = 128;
constexpr int64_t kDepth = 256;
static_assert(kGroups % kMicroColumns == 0, "a chunk is whole panels");

/* Rows that are multiplied together. With a matrix unit a query is the sum of two bf16, exact to
 * 2^-17 of itself: twice the products, and bf16 keys as they are. */
#ifdef SX_HAS_TILES
constexpr int64_t kRowsAtOnce = kTwoSides;
#else
constexpr int64_t kRowsAtOnce = kMicroRows;
#endif

/* A unit's queries are kept as tiles for all of its keys if they take at most 1 MiB, half of an L2;
 * else they are rounded again for each chunk of keys. */
constexpr int64_t kMostQueryFloats = 1 << 18;

/* With fewer units than this, units of half the rows. */
constexpr int64_t kEnoughUnits = 48;

struct Plan {
  int64_t group; /* query heads per key head */
  int64_t cell;  /* groups per tile */
  int64_t q_tiles, key_tiles;
  int64_t unit_tiles; /* row tiles per unit */
  int64_t rows;       /* rows of a full unit */
  int64_t chunks;     /* at most so many chunks of keys */
  int64_t units;
  int64_t query_floats; /* of a worker's queries */
  bool keeps_queries;
  int64_t floats; /* scratch of a worker */
};

/* Whole groups of rows. */
int64_t logit_floats(const Plan& plan) { return round_up(plan.rows, kRowsAtOnce) * kGroups; }

Plan make_plan(const sx_antidiagonal_score_params& args) {
  Plan plan = {};
  plan.group = args.q_heads / args.kv.kv_heads;
  plan.cell = SX_TILE / args.stride;
  plan.q_tiles = ceil_div(args.q_tokens, SX_TILE);
  plan.key_tiles = ceil_div(all_keys(args.kv), SX_TILE);
  for (int64_t rows = kTileRows; rows >= kTileRows / 2; rows -= kTileRows / 2) {
    plan.unit_tiles = max64(1, min64(plan.q_tiles, rows / (plan.group * plan.cell)));
    plan.units = args.kv.kv_heads * ceil_div(plan.q_tiles, plan.unit_tiles);
    if (plan.units >= kEnoughUnits) break;
  }
  plan.rows = plan.unit_tiles * plan.cell * plan.group;
  plan.chunks = ceil_div(plan.key_tiles, args.stride) + 2;
  plan.query_floats = kRowsAtOnce * kDepth;
#ifdef SX_HAS_TILES
  const int64_t steps = ceil_div(args.stride * args.kv.head_dim, kDepth);
  const int64_t all_floats = ceil_div(plan.rows, kRowsAtOnce) * steps * plan.query_floats;
  plan.keeps_queries = all_floats <= kMostQueryFloats;
  if (plan.keeps_queries) plan.query_floats = all_floats;
#endif
  plan.floats = kGroups * kDepth + plan.query_floats + logit_floats(plan) +
                plan.rows * (plan.key_tiles + plan.chunks) + plan.rows * 2;
  plan.floats = round_up(plan.floats, 16);
  return plan;
}

/* The work of one unit in the memory of one worker. */
class Unit {
 public:
  Unit(const sx_antidiagonal_score_params& args, const Plan& plan, int64_t unit, float* memory)
      : args_(args), plan_(plan), kv_head_(unit % args.kv.kv_heads) {
    const int64_t tiles = plan.units / args.kv.kv_heads;
    first_tile_ = (tiles - 1 - unit / args.kv.kv_heads) * plan.unit_tiles;
    row_tiles_ = min64(plan.unit_tiles, plan.q_tiles - first_tile_);
    first_group_ = first_tile_ * plan.cell;
    const int64_t groups = ceil_div(args.q_tokens, args.stride) - first_group_;
    rows_ = min64(row_tiles_ * plan.cell, groups) * plan.group;
    keys_ = memory;
    queries_ = keys_ + kGroups * kDepth;
    logits_ = queries_ + plan.query_floats;
    cells_ = logits_ + logit_floats(plan);
    chunk_max_ = cells_ + plan.rows * plan.key_tiles;
    state_ = reinterpret_cast<RowState*>(chunk_max_ + plan.rows * plan.chunks);
  }

  void run() {
    for (int64_t r = 0; r < rows_; r++) state_[r] = {-INFINITY, 0};
    const int64_t end = visible_groups(rows_ - 1, 0, INT64_MAX);
    const int64_t prefix_groups = args_.kv.prefix_tokens / args_.stride;
    const int64_t first = hidden_groups(0, 0);
    int64_t chunk = 0;
    for (int64_t begin = 0; begin < end; chunk++) {
      const int64_t segment_end = begin < prefix_groups ? min64(prefix_groups, end) : end;
      const int64_t next = min64(begin + kGroups, segment_end);
      if (next <= first) {
        begin = next;
        continue;
      }
#ifdef SX_HAS_TILES
      if (args_.kv.dtype == SX_BF16) {
        multiply_chunk_by_tiles(begin, next);
      } else {
        multiply_chunk(begin, next);
      }
#else
      multiply_chunk(begin, next);
#endif
      for (int64_t r = 0; r < rows_; r++) add_chunk(r, chunk, begin, next);
      begin = next;
    }
    write_mass();
  }

 private:
  /* How many key groups from `begin` on row r sees, at most `count`. */
  int64_t visible_groups(int64_t r, int64_t begin, int64_t count) const {
    const int64_t group = args_.q_offset / args_.stride + first_group_ + r / plan_.group;
    return max64(0, min64(group + 1 - begin, count));
  }

  /* How many key groups from `begin` on lie in tiles before those that row r's tile sees. */
  int64_t hidden_groups(int64_t r, int64_t begin) const {
    const int64_t tile = args_.q_offset / SX_TILE + first_tile_ + r / plan_.group / plan_.cell;
    const Window window = window_of(args_.kv, args_.window);
    return max64(0, window.first_tile(tile) * plan_.cell - begin);
  }

  /* logits = queries . keys of the groups begin..end - 1, all rows. */
  void multiply_chunk(int64_t begin, int64_t end) {
    const int64_t dim = args_.kv.head_dim;
    const int64_t step = kDepth / dim;
    for (int64_t s = 0; s < args_.stride; s += step) {
      const int64_t count = min64(step, args_.stride - s);
      for (int64_t i = 0; i < count; i++)
        pack_keys(begin, end, s + i, keys_ + i * dim * kMicroColumns);
      for (int64_t r = 0; r < rows_; r += kMicroRows) {
        const int64_t rows = min64(kMicroRows, rows_ - r);
        const int64_t visible = visible_groups(r + rows - 1, begin, end - begin);
        if (visible == 0) continue;
        for (int64_t i = 0; i < rows; i++) load_query(r + i, s, count, queries_ + i * kDepth);
        with_rows<kMicroRows>(
            rows, [&](auto size) { this->multiply_rows<size()>(r, visible, count * dim, s > 0); });
      }
    }
  }

  /* Packs element s of the key groups begin..end - 1, zeros past the last key. */
  void pack_keys(int64_t begin, int64_t end, int64_t s, float* out) {
    const sx_key_values& kv = args_.kv;
    const int64_t first = begin * args_.stride + s;
    const int64_t left = all_keys(kv) - first;
    const int64_t count = left <= 0 ? 0 : min64(end - begin, ceil_div(left, args_.stride));
    const int64_t padded = round_up(end - begin, kMicroColumns);
    const char* rows = count == 0 ? nullptr : key_address(kv, kv_head_, first);
    const int64_t bytes = row_bytes(kv, first) * args_.stride;
    if (kv.dtype == SX_BF16) {
      pack_transposed<true>(out, kDepth, rows, bytes, count, padded, kv.head_dim);
    } else {
      pack_transposed<false>(out, kDepth, rows, bytes, count, padded, kv.head_dim);
    }
  }

  /* Copies the elements s..s + count - 1 of row r's reversed group, scaled for base 2. */
  void load_query(int64_t r, int64_t s, int64_t count, float* out) const {
    const int64_t dim = args_.kv.head_dim;
    const int64_t head = kv_head_ * plan_.group + r % plan_.group;
    const int64_t group = first_group_ + r / plan_.group;
    const float scale = args_.scale * 1.44269504088896341f / static_cast<float>(args_.stride);
    for (int64_t i = 0; i < count; i++) {
      const int64_t token = group * args_.stride + args_.stride - 1 - (s + i);
      const float* q = static_cast<const float*>(args_.q) + (token * args_.q_heads + head) * dim;
      for (int64_t d = 0; d < dim; d += kLanes) {
        store(out + i * dim + d,
              token < args_.q_tokens ? mul(load(q + d), broadcast(scale)) : zero());
      }
    }
  }

  template <int R>
  void multiply_rows(int64_t first, int64_t groups, int64_t depth, bool accumulate) {
    Vec c[R][2];
    for (int64_t k = 0; k < groups; k += kMicroColumns) {
      multiply_panel<R, kDepth>(queries_, keys_ + k * kDepth, depth, c);
#pragma GCC unroll 16
      for (int r = 0; r < R; r++) {
        float* out = logits_ + (first + r) * kGroups + k;
        store(out, accumulate ? add(load(out), c[r][0]) : c[r][0]);
        store(out + kLanes, accumulate ? add(load(out + kLanes), c[r][1]) : c[r][1]);
      }
    }
  }

#ifdef SX_HAS_TILES
  /* multiply_chunk() on the matrix unit. */
  void multiply_chunk_by_tiles(int64_t begin, int64_t end) {
    const int64_t dim = args_.kv.head_dim;
    const int64_t step = kDepth / dim;
    const TileScope scope;
    for (int64_t s = 0; s < args_.stride; s += step) {
      const int64_t count = min64(step, args_.stride - s);
      const int64_t steps = count * dim / kTileDepth;
      for (int64_t i = 0; i < count; i++) pack_key_tiles(begin, end, s + i, i, steps);
      for (int64_t r = 0; r < rows_; r += kRowsAtOnce) {
        const int64_t rows = min64(kRowsAtOnce, rows_ - r);
        const int64_t visible = visible_groups(r + rows - 1, begin, end - begin);
        const int64_t place = plan_.keeps_queries ? r * ceil_div(args_.stride, step) * kDepth +
                                                        s / step * kRowsAtOnce * kDepth
                                                  : 0;
        const char* queries = reinterpret_cast<const char*>(queries_ + place);
        for (int64_t i = 0; !holds_queries_ && visible > 0 && i < rows; i++) {
          load_query_tiles(r + i, s, count, queries_ + place, i);
        }
        for (int64_t k = 0; k < visible; k += kTwoSides) {
          const char* keys = reinterpret_cast<const char*>(keys_) + k * steps * 64;
          float* out = logits_ + r * kGroups + k;
          if (s > 0) {
            load_sums(out, kGroups);
          } else {
            zero_sums();
          }
          multiply_two_by_two(queries, keys, steps);
          multiply_two_by_two(queries + kTwoSides * kDepth * 2, keys, steps);
          store_sums(out, kGroups);
        }
      }
    }
    /* The first chunk that is computed, which need not be the first of all, is seen by every row. */
    holds_queries_ = plan_.keeps_queries;
  }

  /* Packs element s, the i-th of this step, of the key groups begin..end - 1 into right tiles
   * [panels of 32 groups][steps][2], zeros past the last key. */
  void pack_key_tiles(int64_t begin, int64_t end, int64_t s, int64_t i, int64_t steps) {
    const sx_key_values& kv = args_.kv;
    const int64_t first = begin * args_.stride + s;
    const int64_t left = all_keys(kv) - first;
    const int64_t count = left <= 0 ? 0 : min64(end - begin, ceil_div(left, args_.stride));
    const char* rows = count == 0 ? nullptr : key_address(kv, kv_head_, first);
    const int64_t bytes = row_bytes(kv, first) * args_.stride;
    const int64_t key_steps = kv.head_dim / kTileDepth;
    for (int64_t n = 0; n < round_up(end - begin, kTwoSides); n += kTileSide) {
      char* tile = reinterpret_cast<char*>(keys_) +
                   (n / kTwoSides * steps + i * key_steps) * 2 * kTileBytes +
                   n % kTwoSides / kTileSide * kTileBytes;
      for (int64_t d = 0; d < key_steps; d++, tile += 2 * kTileBytes) {
        if (n + kTileSide <= count) {
          pack_right_tile(tile, rows + n * bytes + d * 64, bytes);
        } else {
          const int64_t rest = max64(0, count - n);
          pack_right_edge(tile, rest == 0 ? rows : rows + n * bytes + d * 64, bytes, rest,
                          kTileDepth);
        }
      }
    }
  }

  /* load_query() into row `row` of left tiles [upper, lower part][kDepth / 32][2]. */
  void load_query_tiles(int64_t r, int64_t s, int64_t count, float* out, int64_t row) const {
    float query[kDepth];
    load_query(r, s, count, query);
    char* tile = reinterpret_cast<char*>(out) + row / kTileSide * kTileBytes + row % kTileSide * 64;
    const auto upper = [](__m512bh pairs, int half) {
      const __m512i bits = (__m512i)pairs;
      const __m256i part =
          half == 0 ? _mm512_castsi512_si256(bits) : _mm512_extracti64x4_epi64(bits, 1);
      return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(part), 16));
    };
    for (int64_t d = 0; d < count * args_.kv.head_dim; d += kTileDepth, tile += 2 * kTileBytes) {
      const Vec a = load(query + d), b = load(query + d + kLanes);
      const __m512bh high = _mm512_cvtne2ps_pbh(b, a);
      const __m512bh low = _mm512_cvtne2ps_pbh(sub(b, upper(high, 1)), sub(a, upper(high, 0)));
      _mm512_store_si512(tile, (__m512i)high);
      _mm512_store_si512(tile + kTwoSides * kDepth * 2, (__m512i)low);
    }
  }
#endif

  /* Takes a row's logits of a chunk into its cells. */
  void add_chunk(int64_t r, int64_t chunk, int64_t begin, int64_t end) {
    const int64_t visible = visible_groups(r, begin, end - begin);
    const int64_t hidden = hidden_groups(r, begin);
    if (visible <= hidden) return;
    float* weights = logits_ + r * kGroups;
    for (int64_t k = 0; k < hidden; k++) weights[k] = -INFINITY;
    softmax_row(weights, visible, state_[r]);
    chunk_max_[r * plan_.chunks + chunk] = state_[r].max_log2;
    float* cells = cells_ + r * plan_.key_tiles + begin / plan_.cell;
    for (int64_t k = hidden; k < visible; k += plan_.cell) {
      const int64_t stop = min64(k + plan_.cell, visible);
      float sum = 0;
      for (int64_t i = k; i < stop; i++) sum += weights[i];
      cells[k / plan_.cell] = sum;
    }
  }

  /* Adds up the rows of every head and row tile, each brought to its maximum and sum. */
  void write_mass() const {
    for (int64_t n = 0; n < row_tiles_ * plan_.group; n++) {
      const int64_t head = kv_head_ * plan_.group + n % plan_.group;
      const int64_t tile = first_tile_ + n / plan_.group;
      float* out = args_.mass + (head * plan_.q_tiles + tile) * plan_.key_tiles;
      for (int64_t c = 0; c < plan_.key_tiles; c++) out[c] = 0;
      for (int64_t i = 0; i < plan_.cell; i++) {
        const int64_t r = (n / plan_.group * plan_.cell + i) * plan_.group + n % plan_.group;
        if (r < rows_) add_row(r, out);
      }
    }
  }

  void add_row(int64_t r, float* out) const {
    const float factor = 1 / state_[r].sum;
    const float* cells = cells_ + r * plan_.key_tiles;
    const int64_t end = visible_groups(r, 0, INT64_MAX);
    const int64_t prefix_groups = args_.kv.prefix_tokens / args_.stride;
    int64_t chunk = 0;
    for (int64_t begin = 0; begin < end; chunk++) {
      const int64_t segment_end = begin < prefix_groups ? min64(prefix_groups, end) : end;
      const int64_t next = min64(begin + kGroups, segment_end);
      const float weight =
          factor * exp2f(chunk_max_[r * plan_.chunks + chunk] - state_[r].max_log2);
      const int64_t last = ceil_div(next, plan_.cell);
      const int64_t first = begin + hidden_groups(r, begin);
      for (int64_t c = first / plan_.cell; c < last; c++) out[c] += cells[c] * weight;
      begin = next;
    }
  }

  const sx_antidiagonal_score_params& args_;
  const Plan& plan_;
  int64_t kv_head_, first_tile_, row_tiles_, first_group_, rows_;
  float* keys_;      /* panels [kDepth][kMicroColumns], or right tiles */
  float* queries_;   /* [kMicroRows][kDepth], or left tiles [groups of 32 rows][steps] of 32 KiB */
  float* logits_;    /* [rows][kGroups] */
  float* cells_;     /* [rows][key_tiles], relative to chunk_max_ */
  float* chunk_max_; /* [rows][chunks] */
  RowState* state_;  /* [rows] */
  bool holds_queries_ = false; /* whether queries_ are those of all rows, as tiles */
};

}  // namespace

sx_status antidiagonal_score(Context& context, const sx_antidiagonal_score_params& args) {
  const Plan plan = make_plan(args);
  const int64_t bytes = plan.floats * 4 * context.threads;
  float* memory = static_cast<float*>(scratch(context, bytes));
  if (memory == nullptr) return out_of_scratch(context, "antidiagonal_score", bytes);
  parallel_for(context, plan.units, 1, [&](int64_t begin, int64_t end, int32_t worker) {
    for (int64_t unit = begin; unit < end; unit++) {
      Unit(args, plan, unit, memory + worker * plan.floats).run();
    }
  });
  return SX_OK;
}

}  // namespace SX_ISA
}  // namespace sx
