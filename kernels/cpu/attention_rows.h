/*
 * What the packed attention tiles share (attention_tile.h for f32 arithmetic, attention_pairs.h for
 * bf16): the query rows of one key/value head, their online softmax in base 2 (arXiv 2205.14135,
 * algorithm 1) and the delayed division (arXiv 2307.08691, section 3.1).
 */
#ifndef SX_CPU_ATTENTION_ROWS_H
#define SX_CPU_ATTENTION_ROWS_H

#include <math.h>

#include <type_traits>

#include "amx.h"
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
#ifdef SX_HAS_TILES
/* The matrix unit multiplies so fast that packing needs more rows; whole groups of 14 and of 32. */
constexpr int64_t kTileRows = 448;
#else
constexpr int64_t kTileRows = 252;
#endif
static_assert(kTileRows % kMicroRows == 0, "a full tile has no partial group");

/* Keys per tile, so that packed keys and values take 64 KiB each and stay in a 512 KiB L2 beside
 * queries and sums: 256 keys of head size 64, 128 keys of 128. */
template <int D>
constexpr int64_t kTileKeys = 16384 / D;

/* Calls f(std::integral_constant<int, rows>) for rows = 1..R, so that every group size has its own
 * register tile. */
template <int R, class F>
static inline void with_rows(int64_t rows, F&& f) {
  if constexpr (R > 1) {
    if (rows < R) return with_rows<R - 1>(rows, static_cast<F&&>(f));
  }
  f(std::integral_constant<int, R>());
}

/* The sums that R rows begin with: those of keys that some of them see alone, which sum_row(r, sums) makes
 * of row r. */
template <int R, class SumRow>
static inline __attribute__((always_inline)) void begin_sums(const SumRow& sum_row,
                                                             Vec (&c)[R][2]) {
  float kept[R * kMicroColumns];
#pragma GCC unroll 1
  for (int r = 0; r < R; r++) {
    Vec sums[1][2];
    sum_row(r, sums);
    store(kept + r * kMicroColumns, sums[0][0]);
    store(kept + r * kMicroColumns + kLanes, sums[0][1]);
  }
#pragma GCC unroll 16
  for (int r = 0; r < R; r++) {
    c[r][0] = load(kept + r * kMicroColumns);
    c[r][1] = load(kept + r * kMicroColumns + kLanes);
  }
}

/* The running maximum and sum of a row, base 2. */
struct RowState {
  float max_log2;
  float sum;
};

/* Turns the logits s[0..count) into weights 2^(s - max), padded with zeros to whole vectors, and
 * takes them into the state. Returns the factor of what was summed before. `between` runs before each
 * vector of weights. */
template <class Between>
static inline float softmax_row(float* s, int64_t count, RowState& state, const Between& between) {
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
    between();
    const Vec weight = exp2(sub(load(s + k), shift));
    store(s + k, weight);
    sum = add(sum, weight);
  }
  const float alpha = exp2f(state.max_log2 - row_max);
  state.max_log2 = row_max;
  state.sum = state.sum * alpha + reduce_add(sum);
  return alpha;
}
static inline float softmax_row(float* s, int64_t count, RowState& state) {
  return softmax_row(s, count, state, [] {});
}

/* Up to kTileRows query rows: row r is token r / heads, head r % heads of the call's. */
template <int D>
class TileRows {
 public:
  static constexpr int64_t kKeys = kTileKeys<D>;
  static constexpr int64_t kRowFloats = kTileRows * D + 6 * kTileRows;

  /* Processors fetch ahead well enough where arithmetic takes this long; see AmxTile. */
  void expect(const AttentionArgs&, int64_t, int64_t) {}
  void expect_rows(const AttentionArgs&, int64_t, int64_t) {}

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

 protected:
  /* memory: kRowFloats. */
  explicit TileRows(float* memory)
      : out_(memory),
        state_(reinterpret_cast<RowState*>(out_ + kTileRows * D)),
        visible_(reinterpret_cast<int64_t*>(state_ + kTileRows)),
        hidden_(visible_ + kTileRows) {}

  /* Takes `tokens` queries from first_token on, of `heads` query heads from first_head on. */
  void begin_rows(int64_t first_token, int64_t tokens, int64_t first_head, int64_t heads) {
    rows_ = tokens * heads;
    heads_ = heads;
    first_token_ = first_token;
    first_head_ = first_head;
    for (int64_t r = 0; r < rows_; r++) {
      for (int64_t d = 0; d < D; d += kLanes) store(out_ + r * D + d, zero());
      state_[r] = {-INFINITY, 0};
    }
  }

  /* Notes which of the keys begin..end - 1 each row sees. */
  void see_keys(const AttentionArgs& args, int64_t begin, int64_t end) {
    for (int64_t r = 0; r < rows_; r++) {
      const int64_t token = first_token_ + r / heads_;
      visible_[r] = visible_keys(args.q_offset - begin, token, end - begin);
      hidden_[r] = max64(0, first_visible(args, token) - begin);
    }
  }

  /* Turns a row's logits into weights, zeros for keys before its window, and takes them into its
   * state. Returns the factor of what was summed before. */
  float weigh(float* logits, int64_t row) {
    const int64_t visible = visible_[row], hidden = hidden_[row];
    if (visible == 0) return 1;
    if (hidden >= visible) {
      for (int64_t k = 0; k < round_up(visible, kLanes); k++) logits[k] = 0;
      return 1;
    }
    for (int64_t k = 0; k < hidden; k++) logits[k] = -INFINITY;
    return softmax_row(logits, visible, state_[row]);
  }

  int64_t row_of(const AttentionArgs& args, int64_t r) const {
    return (first_token_ + r / heads_) * args.q_heads + first_head_ + r % heads_;
  }

  /* Which of a tile's keys some rows see: row r sees those from hidden(r) to visible_[r] - 1. */
  struct Seen {
    int64_t least, most;       /* of visible_ */
    int64_t first, all_hidden; /* the least and the most of hidden() */
  };

  /* The range of `count` rows from `first` on. */
  Seen seen_by(int64_t first, int count) const {
    Seen seen = {visible_[first], visible_[first], hidden(first), hidden(first)};
    for (int r = 1; r < count; r++) {
      seen.least = min64(seen.least, visible_[first + r]);
      seen.most = max64(seen.most, visible_[first + r]);
      seen.first = min64(seen.first, hidden(first + r));
      seen.all_hidden = max64(seen.all_hidden, hidden(first + r));
    }
    return seen;
  }

  /* Adds to R rows from `first` on what sum(hides, d, c) makes of the columns from d on, once their
   * earlier sums are multiplied by alpha. Two loops, of which the usual one, where no window hides a
   * key, has no more to do than without windows. */
  template <int R, class Sum>
  SX_INLINE_METHOD void add_sums(int64_t first, const float (&alpha)[R], bool hides,
                                 const Sum& sum) {
    const auto add_columns = [&](auto some_hidden) __attribute__((always_inline)) {
      for (int64_t d = 0; d < D; d += kMicroColumns) {
        Vec c[R][2];
        sum(some_hidden, d, c);
#pragma GCC unroll 16
        for (int r = 0; r < R; r++) {
          float* out = out_ + (first + r) * D + d;
          const Vec factor = broadcast(alpha[r]);
          store(out, fma(load(out), factor, c[r][0]));
          store(out + kLanes, fma(load(out + kLanes), factor, c[r][1]));
        }
      }
    };
    if (hides) {
      add_columns(std::true_type());
    } else {
      add_columns(std::false_type());
    }
  }

  /* How many of the keys that are not after row r are before its window. */
  int64_t hidden(int64_t r) const { return min64(hidden_[r], visible_[r]); }

  float* out_; /* [rows][D], not yet divided */
  RowState* state_;
  int64_t* visible_; /* how many keys of the tile are not after each row */
  int64_t* hidden_;  /* how many of these are before its window */
  int64_t rows_ = 0, heads_ = 1, first_token_ = 0, first_head_ = 0;
};

}  // namespace SX_ISA
}  // namespace sx

#endif
