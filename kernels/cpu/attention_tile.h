/*
 * The tile that every packed attention kernel is made of: up to kTileRows query rows of one
 * key/value head against one tile of keys, flash style (arXiv 2205.14135, algorithm 1).
 *
 * For each group of kMicroRows rows: S = Q K^T in registers, tile by tile of kMicroRows x
 * kMicroColumns; online softmax in base 2 over the rows of S, which never leave L1; O = O * alpha +
 * P V with the same register tile. Queries are scaled by scale * log2(e) as they are loaded.
 * Arithmetic and sums in f32. FLOPs 4*D per visible (row, key) pair; the keys and values of a tile
 * are widened and packed once, bytes read per tile 2*KT*D*sizeof(kv).
 *
 * Causality and windows are exact to the row: a row multiplies no values of keys that come after it or
 * before its window, so that not even a NaN in them can reach it. Zeros of weights in front of a row's
 * first key change no bit of its sums, which are 0 until then: leaving them out is exact, too.
 */
#ifndef SX_CPU_ATTENTION_TILE_H
#define SX_CPU_ATTENTION_TILE_H

#include "attention_rows.h"

namespace sx {
namespace SX_ISA {

/* c[r][0..1] += sum over k < depth of a[r * kStride + k] * b[k][0..1]; b is one packed panel. */
template <int R, int64_t kStride>
static inline __attribute__((always_inline)) void add_panel(const float* a, const float* b,
                                                            int64_t depth, Vec (&c)[R][2]) {
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

/* The same sum by itself. */
template <int R, int64_t kStride>
static inline __attribute__((always_inline)) void multiply_panel(const float* a, const float* b,
                                                                 int64_t depth, Vec (&c)[R][2]) {
#pragma GCC unroll 16
  for (int r = 0; r < R; r++) c[r][0] = c[r][1] = zero();
  add_panel<R, kStride>(a, b, depth, c);
}

/* One key/value head's query rows and their running sums, in scratch memory of kBytes. */
template <int D>
class AttentionTile : public TileRows<D> {
 public:
  using Rows = TileRows<D>;
  static constexpr int64_t kKeys = Rows::kKeys;
  static constexpr int64_t kBytes =
      4 * (Rows::kRowFloats + kTileRows * D + 2 * kKeys * D + kMicroRows * kKeys);
  static_assert(kKeys % kMicroColumns == 0 && D % kMicroColumns == 0, "panels are whole");

  explicit AttentionTile(void* scratch)
      : Rows(static_cast<float*>(scratch)),
        q_(static_cast<float*>(scratch) + Rows::kRowFloats),
        keys_(q_ + kTileRows * D),
        values_(keys_ + kKeys * D),
        weights_(values_ + kKeys * D) {}

  /* Takes `tokens` queries from first_token on, of `heads` query heads from first_head on. */
  void begin(const AttentionArgs& args, int64_t first_token, int64_t tokens, int64_t first_head,
             int64_t heads) {
    this->begin_rows(first_token, tokens, first_head, heads);
    const Vec factor = broadcast(args.scale * 1.44269504088896341f);
    for (int64_t r = 0; r < this->rows_; r++) {
      const float* q = static_cast<const float*>(args.q) + this->row_of(args, r) * D;
      for (int64_t d = 0; d < D; d += kLanes) store(q_ + r * D + d, mul(load(q + d), factor));
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
    this->see_keys(args, begin, end);
    for (int64_t r = 0; r < this->rows_; r += kMicroRows) {
      with_rows<kMicroRows>(min64(kMicroRows, this->rows_ - r),
                            [&](auto rows) { this->template add_group<rows()>(r); });
    }
  }

 protected:
  /* Adds the packed keys to the R rows from `first` on. */
  template <int R>
  void add_group(int64_t first) {
    const auto seen = this->seen_by(first, R);
    if (seen.first == seen.most) return;
    Vec c[R][2];
    for (int64_t k = seen.first / kMicroColumns * kMicroColumns; k < seen.most;
         k += kMicroColumns) {
      multiply_panel<R, D>(q_ + first * D, keys_ + k * D, D, c);
#pragma GCC unroll 16
      for (int r = 0; r < R; r++) {
        store(weights_ + r * kKeys + k, c[r][0]);
        store(weights_ + r * kKeys + k + kLanes, c[r][1]);
      }
    }
    float alpha[R];
    for (int r = 0; r < R; r++) {
      alpha[r] = this->weigh(weights_ + r * kKeys, first + r);
    }
    /* The values that all rows see, behind those that some do. */
    const int64_t begin = min64(seen.all_hidden, seen.least);
    const auto sum_columns = [&](auto hides, int64_t d, Vec(&c)[R][2])
        __attribute__((always_inline)) {
      const float* panel = values_ + d * kKeys;
      if constexpr (hides()) {
        begin_sums(
            [&](int r, Vec(&sums)[1][2]) {
              const int64_t own = min64(this->hidden(first + r), begin);
              multiply_panel<1, 1>(weights_ + r * kKeys + own, panel + own * kMicroColumns,
                                   begin - own, sums);
            },
            c);
        add_panel<R, kKeys>(weights_ + begin, panel + begin * kMicroColumns, seen.least - begin, c);
      } else {
        multiply_panel<R, kKeys>(weights_, panel, seen.least, c);
      }
    };
    this->add_sums(first, alpha, begin > 0, sum_columns);
    for (int r = 0; r < R; r++) {
      const int64_t rest = max64(seen.least, this->hidden(first + r));
      add_rest(first + r, weights_ + r * kKeys, rest, this->visible_[first + r]);
    }
  }

  /* Adds the values begin..end - 1 to one row: those that not all rows of its group see. */
  void add_rest(int64_t row, const float* weights, int64_t begin, int64_t end) {
    if (begin >= end) return;
    for (int64_t d = 0; d < D; d += kMicroColumns) {
      Vec c[1][2];
      multiply_panel<1, 1>(weights + begin, values_ + d * kKeys + begin * kMicroColumns,
                           end - begin, c);
      float* out = this->out_ + row * D + d;
      store(out, add(load(out), c[0][0]));
      store(out + kLanes, add(load(out + kLanes), c[0][1]));
    }
  }

  float* q_;       /* [rows][D], scaled */
  float* keys_;    /* panels [D][kMicroColumns] */
  float* values_;  /* panels [kKeys][kMicroColumns] */
  float* weights_; /* [kMicroRows][kKeys], logits and then weights */
};

}  // namespace SX_ISA
}  // namespace sx

#endif
