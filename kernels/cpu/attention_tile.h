/*
 * The tile that every packed attention kernel is made of: up to kTileRows query rows of one
 * key/value head against one tile of keys, flash style (arXiv 2205.14135, algorithm 1, and
 * arXiv 2307.08691, section 3.1, for the delayed division).
 *
 * For each group of kMicroRows rows: S = Q K^T in registers, tile by tile of kMicroRows x
 * kMicroColumns; online softmax in base 2 over the rows of S, which never leave L1; O = O * alpha +
 * P V with the same register tile. Queries are scaled by scale * log2(e) as they are loaded.
 * Accumulates in f32. FLOPs 4*D per visible (row, key) pair; the keys and values of a tile are
 * widened and packed once, bytes read per tile 2*KT*D*sizeof(kv).
 *
 * Causality is exact to the row: a row multiplies neither keys nor values that it does not see, so
 * that not even a NaN in them can reach it.
 */
#ifndef SX_CPU_ATTENTION_TILE_H
#define SX_CPU_ATTENTION_TILE_H

#include <math.h>

#include <type_traits>

#include "attention.h"
#include "attention_pack.h"
#include "attention_parts.h"
#include "simd.h"

namespace sx {
namespace SX_ISA {

/* Register tile: 6 x 2 of 16 (AVX2) or 14 x 2 of 32 (AVX-512) vector registers accumulate; two
 * hold the packed operand and one the broadcast one. */
constexpr int kMicroRows = kLanes == 8 ? 6 : 14;

/* 252 rows are whole groups of 6 and of 14; above some 200 rows packing a tile costs below 3 % of
 * multiplying it. */
constexpr int64_t kTileRows = 252;
static_assert(kTileRows % kMicroRows == 0, "a full tile has no partial group");

/* Keys per tile, so that packed keys and values take 64 KiB each and stay in a 512 KiB L2 beside
 * queries and sums: 256 keys of head size 64, 128 keys of 128. */
template <int D>
constexpr int64_t kTileKeys = 16384 / D;

/* c[r][0..1] = sum over k < depth of a[r * kStride + k] * b[k][0..1]; b is one packed panel. */
template <int R, int64_t kStride>
static inline __attribute__((always_inline)) void multiply_panel(const float* a, const float* b,
                                                                 int64_t depth, Vec (&c)[R][2]) {
#pragma GCC unroll 16
  for (int r = 0; r < R; r++) c[r][0] = c[r][1] = zero();
#pragma GCC unroll 2
  for (int64_t k = 0; k < depth; k++) {
    const Vec b0 = load(b + k * kMicroColumns), b1 = load(b + k * kMicroColumns + kLanes);
#pragma GCC unroll 16
    for (int r = 0; r < R; r++) {
      const Vec x = broadcast(a[r * kStride + k]);
      c[r][0] = fma(x, b0, c[r][0]);
      c[r][1] = fma(x, b1, c[r][1]);
    }
  }
}

/* Calls f(std::integral_constant<int, rows>) for rows = 1..R, so that every group size has its own
 * register tile. */
template <int R, class F>
static inline void with_rows(int64_t rows, F&& f) {
  if constexpr (R > 1) {
    if (rows < R) return with_rows<R - 1>(rows, static_cast<F&&>(f));
  }
  f(std::integral_constant<int, R>());
}

/* The running maximum and sum of a row, base 2. */
struct RowState {
  float max_log2;
  float sum;
};

/* Turns the logits s[0..count) into weights 2^(s - max), padded with zeros to whole vectors, and
 * takes them into the state. Returns the factor of what was summed before. */
static inline float softmax_row(float* s, int64_t count, RowState& state) {
  const int64_t padded = ceil_div(count, kLanes) * kLanes;
  for (int64_t k = count; k < padded; k++) s[k] = -INFINITY;
  Vec top = load(s), other = top;
  int64_t k = kLanes;
  for (; k + kLanes < padded; k += 2 * kLanes) {
    top = max(top, load(s + k));
    other = max(other, load(s + k + kLanes));
  }
  if (k < padded) top = max(top, load(s + k));
  const float row_max = larger(state.max_log2, reduce_max(max(top, other)));
  const Vec shift = broadcast(row_max);
  Vec sum = zero();
  for (k = 0; k < padded; k += kLanes) {
    const Vec weight = exp2(sub(load(s + k), shift));
    store(s + k, weight);
    sum = add(sum, weight);
  }
  const float alpha = exp2f(state.max_log2 - row_max);
  state.max_log2 = row_max;
  state.sum = state.sum * alpha + reduce_add(sum);
  return alpha;
}

/* One key/value head's query rows and their running sums, in scratch memory of kBytes. */
template <int D>
class AttentionTile {
 public:
  static constexpr int64_t kKeys = kTileKeys<D>;
  static constexpr int64_t kFloats =
      2 * kTileRows * D + 2 * kKeys * D + kMicroRows * kKeys + 4 * kTileRows;
  static constexpr int64_t kBytes = kFloats * 4;
  static_assert(kKeys % kMicroColumns == 0 && D % kMicroColumns == 0, "panels are whole");

  explicit AttentionTile(void* scratch)
      : q_(static_cast<float*>(scratch)), out_(q_ + kTileRows * D), keys_(out_ + kTileRows * D),
        values_(keys_ + kKeys * D), weights_(values_ + kKeys * D),
        state_(reinterpret_cast<RowState*>(weights_ + kMicroRows * kKeys)),
        visible_(reinterpret_cast<int64_t*>(state_ + kTileRows)) {}

  /* Takes `tokens` queries from first_token on, of `heads` query heads from first_head on; row r is
   * token r / heads, head r % heads. */
  void begin(const AttentionArgs& args, int64_t first_token, int64_t tokens, int64_t first_head,
             int64_t heads) {
    rows_ = tokens * heads;
    heads_ = heads;
    first_token_ = first_token;
    first_head_ = first_head;
    const Vec factor = broadcast(args.scale * 1.44269504088896341f);
    for (int64_t r = 0; r < rows_; r++) {
      const float* q = static_cast<const float*>(args.q) + row_of(args, r) * D;
      for (int64_t d = 0; d < D; d += kLanes) {
        store(q_ + r * D + d, mul(load(q + d), factor));
        store(out_ + r * D + d, zero());
      }
      state_[r] = {-INFINITY, 0};
    }
  }

  /* Adds the keys begin..end - 1, at most kKeys of one segment. */
  void add_keys(const AttentionArgs& args, int64_t kv_head, int64_t begin, int64_t end) {
    const char* keys = key_address(args.kv, kv_head, begin);
    const char* values = value_address(args.kv, kv_head, begin);
    const int64_t step = row_bytes(args.kv, begin);
    const int64_t padded = round_up(end - begin, kMicroColumns);
    if (args.kv.dtype == SX_BF16) {
      pack_transposed<true>(keys_, D, keys, step, end - begin, padded, D);
      pack_columns<true>(values_, kKeys, values, step, end - begin, D);
    } else {
      pack_transposed<false>(keys_, D, keys, step, end - begin, padded, D);
      pack_columns<false>(values_, kKeys, values, step, end - begin, D);
    }
    for (int64_t r = 0; r < rows_; r++) {
      visible_[r] = visible_keys(args.q_offset - begin, first_token_ + r / heads_, end - begin);
    }
    for (int64_t r = 0; r < rows_; r += kMicroRows) {
      with_rows<kMicroRows>(min64(kMicroRows, rows_ - r),
                            [&](auto rows) { this->add_group<rows()>(r); });
    }
  }

  /* Divides by the sums and writes outputs and log-sum-exps. */
  void finish(const AttentionArgs& args) const {
    for (int64_t r = 0; r < rows_; r++) {
      const int64_t row = row_of(args, r);
      const RowState& state = state_[r];
      write_row(args.out, args.out_dtype, row, D, out_ + r * D, state.sum == 0 ? 0 : 1 / state.sum);
      if (args.lse_log2 != nullptr) args.lse_log2[row] = state.max_log2 + log2f(state.sum);
    }
  }

  /* Writes row r's unnormalized sums [D], maximum and sum to parts + row * (D + 2) for a merge. */
  void finish_part(const AttentionArgs& args, float* parts) const {
    for (int64_t r = 0; r < rows_; r++) {
      float* part = parts + row_of(args, r) * (D + 2);
      for (int64_t d = 0; d < D; d += kLanes) store(part + d, load(out_ + r * D + d));
      part[D] = state_[r].max_log2;
      part[D + 1] = state_[r].sum;
    }
  }

 private:
  int64_t row_of(const AttentionArgs& args, int64_t r) const {
    return (first_token_ + r / heads_) * args.q_heads + first_head_ + r % heads_;
  }

  /* Adds the packed keys to the R rows from `first` on. */
  template <int R>
  void add_group(int64_t first) {
    const int64_t* visible = visible_ + first;
    int64_t least = visible[0], most = visible[0];
    for (int r = 1; r < R; r++) {
      least = min64(least, visible[r]);
      most = max64(most, visible[r]);
    }
    if (most == 0) return;
    Vec c[R][2];
    for (int64_t k = 0; k < most; k += kMicroColumns) {
      multiply_panel<R, D>(q_ + first * D, keys_ + k * D, D, c);
#pragma GCC unroll 16
      for (int r = 0; r < R; r++) {
        store(weights_ + r * kKeys + k, c[r][0]);
        store(weights_ + r * kKeys + k + kLanes, c[r][1]);
      }
    }
    float alpha[R];
    for (int r = 0; r < R; r++) {
      alpha[r] = visible[r] == 0
                     ? 1
                     : softmax_row(weights_ + r * kKeys, visible[r], state_[first + r]);
    }
    for (int64_t d = 0; d < D; d += kMicroColumns) {
      multiply_panel<R, kKeys>(weights_, values_ + d * kKeys, least, c);
#pragma GCC unroll 16
      for (int r = 0; r < R; r++) {
        float* out = out_ + (first + r) * D + d;
        const Vec factor = broadcast(alpha[r]);
        store(out, fma(load(out), factor, c[r][0]));
        store(out + kLanes, fma(load(out + kLanes), factor, c[r][1]));
      }
    }
    for (int r = 0; r < R; r++) add_rest(first + r, weights_ + r * kKeys, least, visible[r]);
  }

  /* Adds the values begin..end - 1 to one row: those that not all rows of its group see. */
  void add_rest(int64_t row, const float* weights, int64_t begin, int64_t end) {
    if (begin == end) return;
    for (int64_t d = 0; d < D; d += kMicroColumns) {
      Vec c[1][2];
      multiply_panel<1, 1>(weights + begin, values_ + d * kKeys + begin * kMicroColumns,
                           end - begin, c);
      float* out = out_ + row * D + d;
      store(out, add(load(out), c[0][0]));
      store(out + kLanes, add(load(out + kLanes), c[0][1]));
    }
  }

  float* q_;       /* [rows][D], scaled */
  float* out_;     /* [rows][D], not yet divided */
  float* keys_;    /* panels [D][kMicroColumns] */
  float* values_;  /* panels [kKeys][kMicroColumns] */
  float* weights_; /* [kMicroRows][kKeys], logits and then weights */
  RowState* state_;
  int64_t* visible_; /* how many keys of the tile each row sees */
  int64_t rows_ = 0, heads_ = 1, first_token_ = 0, first_head_ = 0;
};

}  // namespace SX_ISA
}  // namespace sx

#endif
