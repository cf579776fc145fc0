/*
 * The attention tile of attention_tile.h with bf16 products, for bf16 keys and values on a machine
 * that multiplies pairs of bf16 (vdpbf16ps, twice the rate of f32).
 *
 * Queries and softmax weights are rounded to bf16, as FlashAttention does on GPUs; logits, softmax
 * and sums stay in f32. Two neighbours along the summed dimension share one 32-bit element: keys lie
 * so in memory and are transposed as f32 would be; two rows of values are interleaved. No value is
 * touched that a row does not see: its last key, if that is the first of a pair, is added in f32; of its
 * first key, if that is the second of a pair, the other value is taken as zero.
 * FLOPs and bytes as in attention_tile.h.
 */
#ifndef SX_CPU_ATTENTION_PAIRS_H
#define SX_CPU_ATTENTION_PAIRS_H

#include "attention_rows.h"

#ifdef SX_HAS_PAIRS

namespace sx {
namespace SX_ISA {

/* c + the products of the two bf16 in each lane of a and b. */
SX_INLINE Vec multiply_pairs(Vec c, Vec a, Vec b) {
  return _mm512_dpbf16_ps(c, (__m512bh)a, (__m512bh)b);
}

/* c[r][0..1] += sum over k < depth of the pairs a[r * kStride + k] * b[k][0..1]; one packed panel. */
template <int R, int64_t kStride>
static inline __attribute__((always_inline)) void add_pair_panel(const float* a, const float* b,
                                                                 int64_t depth, Vec (&c)[R][2]) {
#pragma GCC unroll 2
  for (int64_t k = 0; k < depth; k++) {
    const Vec b0 = load(b + k * kMicroColumns), b1 = load(b + k * kMicroColumns + kLanes);
#pragma GCC unroll 16
    for (int r = 0; r < R; r++) {
      const Vec x = broadcast(a[r * kStride + k]);
      c[r][0] = multiply_pairs(c[r][0], x, b0);
      c[r][1] = multiply_pairs(c[r][1], x, b1);
    }
  }
}

/* The same sum by itself. */
template <int R, int64_t kStride>
static inline __attribute__((always_inline)) void multiply_pair_panel(const float* a,
                                                                      const float* b, int64_t depth,
                                                                      Vec (&c)[R][2]) {
#pragma GCC unroll 16
  for (int r = 0; r < R; r++) c[r][0] = c[r][1] = zero();
  add_pair_panel<R, kStride>(a, b, depth, c);
}

/* Packs `count` bf16 rows into panels of columns: element [pair][column] holds the column of rows
 * 2 * pair and 2 * pair + 1; a row past the end is zero. */
static inline void pack_row_pairs(float* out, int64_t panel_pairs, const char* rows,
                                  int64_t row_bytes, int64_t count, int64_t width) {
  for (int64_t n = 0; n < count; n += 2) {
    const char* even = rows + n * row_bytes;
    for (int64_t d = 0; d < width; d += 8) {
      float* panel = out + d / kMicroColumns * panel_pairs * kMicroColumns;
      float* element = panel + n / 2 * kMicroColumns + d % kMicroColumns;
      const __m128i a = _mm_loadu_si128(reinterpret_cast<const __m128i*>(even + 2 * d));
      const __m128i b =
          n + 1 < count
              ? _mm_loadu_si128(reinterpret_cast<const __m128i*>(even + row_bytes + 2 * d))
              : _mm_setzero_si128();
      _mm_storeu_si128(reinterpret_cast<__m128i*>(element), _mm_unpacklo_epi16(a, b));
      _mm_storeu_si128(reinterpret_cast<__m128i*>(element + 4), _mm_unpackhi_epi16(a, b));
    }
  }
}

/* One key/value head's query rows and their running sums, in scratch memory of kBytes. */
template <int D>
class PairTile : public TileRows<D> {
 public:
  using Rows = TileRows<D>;
  static constexpr int64_t kKeys = Rows::kKeys;
  static constexpr int64_t kPairs = kKeys / 2;
  static constexpr int64_t kBytes = 4 * (Rows::kRowFloats + kTileRows * D / 2 + kKeys * D +
                                         kMicroRows * kKeys + kMicroRows * kPairs);

  explicit PairTile(void* scratch)
      : Rows(static_cast<float*>(scratch)),
        q_(static_cast<float*>(scratch) + Rows::kRowFloats),
        keys_(q_ + kTileRows * D / 2),
        values_(keys_ + kKeys * D / 2),
        weights_(values_ + kKeys * D / 2),
        weight_pairs_(weights_ + kMicroRows * kKeys) {}

  /* Takes `tokens` queries from first_token on, of `heads` query heads from first_head on. */
  void begin(const AttentionArgs& args, int64_t first_token, int64_t tokens, int64_t first_head,
             int64_t heads) {
    this->begin_rows(first_token, tokens, first_head, heads);
    factor_ = args.scale * 1.44269504088896341f;
    for (int64_t r = 0; r < this->rows_; r++) {
      const float* q = static_cast<const float*>(args.q) + this->row_of(args, r) * D;
      bf16* row = reinterpret_cast<bf16*>(q_ + r * D / 2);
      for (int64_t d = 0; d < D; d += kLanes) store_bf16(row + d, load(q + d));
    }
  }

  /* Adds the keys begin..end - 1, at most kKeys of one segment. */
  void add_keys(const AttentionArgs& args, int64_t kv_head, int64_t begin, int64_t end) {
    const char* keys = key_address(args.kv, kv_head, begin);
    const char* values = value_address(args.kv, kv_head, begin);
    const int64_t step = row_bytes(args.kv, begin);
    const int64_t padded = round_up(end - begin, kMicroColumns);
    pack_transposed<false>(keys_, D / 2, keys, step, end - begin, padded, D / 2);
    pack_row_pairs(values_, kPairs, values, step, end - begin, D);
    this->see_keys(args, begin, end);
    for (int64_t r = 0; r < this->rows_; r += kMicroRows) {
      with_rows<kMicroRows>(min64(kMicroRows, this->rows_ - r),
                            [&](auto rows) { this->template add_group<rows()>(r); });
    }
  }

 private:
  /* Adds the packed keys to the R rows from `first` on. */
  template <int R>
  void add_group(int64_t first) {
    const auto seen = this->seen_by(first, R);
    if (seen.first == seen.most) return;
    Vec c[R][2];
    const Vec factor = broadcast(factor_);
    for (int64_t k = seen.first / kMicroColumns * kMicroColumns; k < seen.most;
         k += kMicroColumns) {
      multiply_pair_panel<R, D / 2>(q_ + first * D / 2, keys_ + k * D / 2, D / 2, c);
#pragma GCC unroll 16
      for (int r = 0; r < R; r++) {
        store(weights_ + r * kKeys + k, mul(c[r][0], factor));
        store(weights_ + r * kKeys + k + kLanes, mul(c[r][1], factor));
      }
    }
    float alpha[R];
    for (int r = 0; r < R; r++) {
      alpha[r] = this->weigh(weights_ + r * kKeys, first + r);
      bf16* pairs = reinterpret_cast<bf16*>(weight_pairs_ + r * kPairs);
      for (int64_t k = 0; k < this->visible_[first + r]; k += kLanes) {
        store_bf16(pairs + k, load(weights_ + r * kKeys + k));
      }
    }
    /* The pairs that all rows see, behind those that some do. */
    const int64_t end = seen.least / 2, begin = min64(ceil_div(seen.all_hidden, 2), end);
    const auto sum_columns = [&](auto hides, int64_t d, Vec(&c)[R][2])
        __attribute__((always_inline)) {
      const float* panel = values_ + d * kPairs;
      if constexpr (hides()) {
        begin_sums(
            [&](int r, Vec(&sums)[1][2]) {
              sum_row(r, this->hidden(first + r), begin, panel, sums);
            },
            c);
        add_pair_panel<R, kPairs>(weight_pairs_ + begin, panel + begin * kMicroColumns, end - begin,
                                  c);
      } else {
        multiply_pair_panel<R, kPairs>(weight_pairs_, panel, end, c);
      }
    };
    this->add_sums(first, alpha, begin > 0, sum_columns);
    for (int r = 0; r < R; r++) add_rest(first + r, r, end);
  }

  /* The sums of row r of the group over the keys of a panel from `key` on, up to pair `end`. */
  SX_INLINE_METHOD void sum_row(int64_t r, int64_t key, int64_t end, const float* panel,
                                Vec (&c)[1][2]) const {
    c[0][0] = c[0][1] = zero();
    int64_t pair = key / 2;
    if (pair >= end) return;
    const float* weights = weight_pairs_ + r * kPairs;
    if (key % 2 != 0) {
      const Vec weight = broadcast(weights[pair]);
      c[0][0] = multiply_pairs(c[0][0], weight, without_first(panel + pair * kMicroColumns));
      c[0][1] =
          multiply_pairs(c[0][1], weight, without_first(panel + pair * kMicroColumns + kLanes));
      pair++;
    }
    add_pair_panel<1, 1>(weights + pair, panel + pair * kMicroColumns, end - pair, c);
  }

  /* Adds the values from pair `begin` on to row r of the group, up to its last visible key. */
  void add_rest(int64_t row, int64_t r, int64_t begin) {
    const int64_t visible = this->visible_[row], key = max64(2 * begin, this->hidden(row));
    if (key >= visible) return;
    const int64_t end = visible / 2;
    const bool odd = visible % 2 != 0;
    for (int64_t d = 0; d < D; d += kMicroColumns) {
      Vec c[1][2];
      const float* panel = values_ + d * kPairs;
      sum_row(r, key, end, panel, c);
      if (odd) {
        const Vec weight = broadcast(weights_[r * kKeys + visible - 1]);
        c[0][0] = fma(weight, lower_halves(panel + end * kMicroColumns), c[0][0]);
        c[0][1] = fma(weight, lower_halves(panel + end * kMicroColumns + kLanes), c[0][1]);
      }
      float* out = this->out_ + row * D + d;
      store(out, add(load(out), c[0][0]));
      store(out + kLanes, add(load(out + kLanes), c[0][1]));
    }
  }

  /* Pairs whose first bf16 are zero, of the sign that they have: that of their products with 0. */
  static Vec without_first(const float* pairs) {
    const __m512i kept = _mm512_set1_epi32(static_cast<int>(0xffff8000));
    return _mm512_castsi512_ps(_mm512_and_si512(_mm512_loadu_si512(pairs), kept));
  }

  /* The first bf16 of each pair, widened. */
  static Vec lower_halves(const float* pairs) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_loadu_si512(pairs), 16));
  }

  float* q_;            /* [rows][D / 2] pairs */
  float* keys_;         /* panels [D / 2][kMicroColumns] of pairs along D */
  float* values_;       /* panels [kPairs][kMicroColumns] of pairs along the keys */
  float* weights_;      /* [kMicroRows][kKeys], logits and then weights */
  float* weight_pairs_; /* [kMicroRows][kPairs] */
  float factor_ = 0;    /* scale * log2(e) */
};

}  // namespace SX_ISA
}  // namespace sx

#endif
#endif
