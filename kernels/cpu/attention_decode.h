/*
 * Rows of few queries against keys as they lie in the cache: what attention_decode and
 * attention_decode_tiles are made of. attention_decode.cpp says how.
 */
#ifndef SX_CPU_ATTENTION_DECODE_H
#define SX_CPU_ATTENTION_DECODE_H

#include <immintrin.h>
#include <math.h>

#include "attention_decode_sums.h"
#include "thread_pool.h"

namespace sx {
namespace SX_ISA {

/* From more rows on, packing a tile once is cheaper than dot products for every row. */
constexpr int64_t kFewRows = 8;
/* At most 32 splits per key head: enough for the cores, few for the merge. */
constexpr int64_t kSplits = 32;

/* How what a sequence, or one of its key heads, reads is split: by how much that is alone. */
struct SplitPlan {
  int64_t split_keys, splits;
  int64_t parts;      /* floats of the parts of the sequences before */
  int64_t first_unit; /* of work, over all sequences */
};

/* Splits what has so many keys and means. */
SX_INLINE void split_keys(SplitPlan& plan, int64_t keys) {
  plan.split_keys = max64(kTile, round_up(ceil_div(keys, kSplits), kTile));
  plan.splits = max64(1, ceil_div(keys, plan.split_keys));
}

/* The last of the plans that begins at a unit or before it. */
template <class Plan>
int64_t plan_of(const Plan* plans, int64_t count, int64_t unit) {
  int64_t low = 0, high = count - 1;
  while (low < high) {
    const int64_t middle = (low + high + 1) / 2;
    if (plans[middle].first_unit <= unit) {
      low = middle;
    } else {
      high = middle - 1;
    }
  }
  return low;
}

/* How often a key head is read by a sequence's rows. */
SX_INLINE int64_t row_groups(const sx_attention_decode_params& args) {
  return ceil_div(args.q_tokens * (args.q_heads / args.kv_heads), kFewRows);
}

/* Floats of the parts of one split. */
SX_INLINE int64_t part_floats(const sx_attention_decode_params& args) {
  return args.q_tokens * args.q_heads * (args.head_dim + 2);
}

/* Merges the parts of all rows: those of row r of sequence s lie where plan_at(s, r) says, if it is not
 * null. `floats`: of all parts. */
template <int D, class PlanAt>
void merge_rows(Context& context, const sx_attention_decode_params& args, const float* parts,
                int64_t floats, const PlanAt& plan_at) {
  const int64_t rows = args.q_tokens * args.q_heads, all = args.sequences * rows;
  parallel_for(
      context, all, row_grain(ceil_div(floats * 4, all)), [&](int64_t begin, int64_t end, int32_t) {
        for (int64_t row = begin; row < end; row++) {
          const int64_t s = row / rows;
          const SplitPlan* plan = plan_at(s, row % rows);
          if (plan == nullptr) continue;
          merge_row<D>(dense_arguments(args, s), parts + plan->parts, plan->splits, row % rows);
        }
      });
}

/* Calls run(key, head_dim) with a null pointer to what keys are, and an integral_constant. */
template <class Run>
sx_status with_keys(const sx_attention_decode_params& args, const Run& run) {
  const auto with_dim = [&](auto key) {
    return args.head_dim == 64 ? run(key, std::integral_constant<int, 64>())
                               : run(key, std::integral_constant<int, 128>());
  };
  if (args.kv_dtype == SX_I8) return with_dim(static_cast<const i8*>(nullptr));
  if (args.kv_dtype == SX_F8E4M3) return with_dim(static_cast<const f8*>(nullptr));
  if (args.kv_dtype == SX_BF16) return with_dim(static_cast<const bf16*>(nullptr));
  return with_dim(static_cast<const float*>(nullptr));
}

/* What scales of the codes of load_pair are to be multiplied by. */
template <class Key>
constexpr float kScaleFactor = 1;
template <>
constexpr float kScaleFactor<f8> = 256;

/* Keys and values in consecutive rows; bias_log2 is added to their logits. */
template <class Key>
struct Run {
  const Key* keys;
  const Key* values;
  int64_t stride;
  float bias_log2;
  const float* key_scales; /* of each row; null for floats */
  const float* value_scales;
};

/* numbers[0..count) *= factor * scales[0..count). */
SX_INLINE void scale_numbers(float* numbers, const float* scales, float factor, int64_t count) {
  int64_t k = 0;
  for (; k + kLanes <= count; k += kLanes) {
    store(numbers + k, mul(load(numbers + k), mul(load(scales + k), broadcast(factor))));
  }
  for (; k < count; k++) numbers[k] *= scales[k] * factor;
}

/* Some of the rows of one key head of a sequence, over one split of its keys. */
template <class Key, int D>
class Split {
  static_assert(D % (2 * kPair) == 0, "rows are whole double pairs");
  /* Codes are widened for four rows at most: more versions are not worth their size. */
  static constexpr int kRows = sizeof(Key) > 1 || kRegisterRows < 4 ? kRegisterRows : 4;

 public:
  /* dense: `sequence` by itself; first: its first row of the T * HQ / HK that share the key head. */
  Split(const sx_attention_decode_params& args, const AttentionArgs& dense, int64_t sequence,
        int64_t kv_head, int64_t first)
      : args_(args),
        dense_(dense),
        group_(args.q_heads / args.kv_heads),
        first_(first),
        rows_(min64(kFewRows, args.q_tokens * group_ - first)),
        first_head_(kv_head * group_),
        keys_(static_cast<const Key*>(dense.kv.keys) + kv_head * args.head_stride),
        values_(static_cast<const Key*>(dense.kv.values) + kv_head * args.head_stride),
        scales_(kv_head * args.scale_head_stride +
                (args.first_row == nullptr ? 0 : args.first_row[sequence])) {
    for (int64_t r = 0; r < rows_; r++) {
      take_query(static_cast<const float*>(dense.q) + row_of(r) * D, r);
      for (int64_t d = 0; d < D; d++) out_[r * D + d] = 0;
      state_[r] = {-INFINITY, 0};
    }
  }

  /* Where the keys of a sequence's rows from `key` on lie. */
  const Key* keys_at(int64_t key) const { return keys_ + key * args_.token_stride; }

  /* `next`: the keys that are read after these, null if there are none. */
  void add_keys(int64_t begin, int64_t end, const Key* next) {
    for (int64_t key = begin; key < end; key += kTile) {
      const int64_t count = min64(kTile, end - key);
      const bool has_more = key + kTile < end;
      next_ = Ahead(has_more ? keys_at(key + kTile) : next,
                    has_more ? min64(kTile, end - key - kTile) : kTile, D);
      for (int64_t r = 0; r < rows_; r += kRows) {
        with_rows<kRows>(min64(kRows, rows_ - r),
                         [&](auto rows) { this->add_tile<rows()>(r, key, count); });
      }
    }
  }

  /* Adds keys that all rows see, wherever they lie: kTile at most. */
  template <class Row>
  void add_run(const Run<Row>& run, int64_t count) {
    for (int64_t r = 0; r < rows_; r += kRows) {
      with_rows<kRows>(min64(kRows, rows_ - r), [&](auto rows) {
        int64_t visible[rows()], hidden[rows()];
        for (int i = 0; i < rows(); i++) visible[i] = count, hidden[i] = 0;
        this->template add_rows<rows()>(r, run, visible, hidden);
      });
    }
  }

  /* Writes the rows' parts (see attention_parts.h). */
  void finish(float* parts) const {
    for (int64_t r = 0; r < rows_; r++) {
      float* part = parts + row_of(r) * (D + 2);
      for (int64_t d = 0; d < D; d++) part[d] = out_[r * D + place(keys_, d)];
      part[D] = state_[r].max_log2;
      part[D + 1] = state_[r].sum;
    }
  }

 private:
  int64_t row_of(int64_t r) const {
    return (first_ + r) / group_ * args_.q_heads + first_head_ + (first_ + r) % group_;
  }

  /* Takes row r, scaled, in load_pair's order. */
  void take_query(const float* q, int64_t r) {
    const float factor = args_.scale * 1.44269504088896341f;
    for (int64_t d = 0; d < D; d++) q_[r * D + place(keys_, d)] = q[d] * factor;
  }

  template <int R>
  void add_tile(int64_t first, int64_t key, int64_t count) {
    int64_t visible[R], hidden[R];
    for (int r = 0; r < R; r++) {
      const int64_t token = (first_ + first + r) / group_;
      visible[r] = visible_keys(dense_.q_offset - key, token, count);
      const int64_t end = visible_keys(dense_.q_offset, token, dense_.kv.key_tokens);
      hidden[r] = max64(0, first_visible(args_, end) - key);
      if (hidden[r] >= visible[r]) visible[r] = 0;
    }
    const int64_t stride = args_.token_stride;
    Run<Key> run = {keys_at(key), values_ + key * stride, stride, 0, nullptr, nullptr};
    if (args_.key_scales != nullptr) {
      run.key_scales = args_.key_scales + scales_ + key;
      run.value_scales = args_.value_scales + scales_ + key;
    }
    add_rows<R>(first, run, visible, hidden);
  }

  /* Adds keys and values to R rows: each sees the first visible[r] but for hidden[r] of them. */
  template <int R, class Row>
  void add_rows(int64_t first, const Run<Row>& run, const int64_t (&visible)[R],
                const int64_t (&hidden)[R]) {
    int64_t least = visible[0], most = visible[0], begin = hidden[0];
    for (int r = 1; r < R; r++) {
      least = min64(least, visible[r]);
      most = max64(most, visible[r]);
      begin = max64(begin, hidden[r]);
    }
    if (most == 0) return;
    multiply_keys<Row, D, R>(q_ + first * D, run.keys, run.stride, most, run.values, weights_);
    const auto ask = [&] {
      if (kAsksAhead<R>) next_.ask(kWeightLines);
    };
    float alpha[R];
    for (int r = 0; r < R; r++) {
      float* weights = weights_ + r * kTile;
      if (run.key_scales != nullptr) {
        scale_numbers(weights, run.key_scales, kScaleFactor<Row>, visible[r]);
      }
      for (int64_t k = 0; k < min64(hidden[r], visible[r]); k++) weights[k] = -INFINITY;
      if (run.bias_log2 != 0) {
        for (int64_t k = 0; k < visible[r]; k++) weights[k] += run.bias_log2;
      }
      alpha[r] = visible[r] == 0 ? 1 : softmax_row(weights, visible[r], state_[first + r], ask);
      if (run.value_scales != nullptr) {
        scale_numbers(weights, run.value_scales, kScaleFactor<Row>, visible[r]);
      }
    }
    /* The values begin..least - 1 are for all rows. No row gets one that it does not see, not even
     * with a weight of 0: it may be a NaN. */
    begin = min64(begin, least);
    for (int r = 0; r < R; r++) {
      if (hidden[r] >= begin) continue;
      add_values(run, first, r, alpha[r], hidden[r], begin);
      alpha[r] = 1;
    }
    multiply_values<Row, D, R>(weights_ + begin, alpha, run.values + begin * run.stride, run.stride,
                               least - begin, next_, out_ + first * D);
    for (int r = 0; r < R; r++) {
      const int64_t rest = max64(least, hidden[r]);
      if (rest < visible[r]) add_values(run, first, r, 1, rest, visible[r]);
    }
  }

  /* Adds the values begin..end - 1 to row r of those from `first` on. */
  template <class Row>
  void add_values(const Run<Row>& run, int64_t first, int64_t r, float alpha, int64_t begin,
                  int64_t end) {
    Ahead nothing;
    multiply_values<Row, D, 1>(weights_ + r * kTile + begin, &alpha,
                               run.values + begin * run.stride, run.stride, end - begin, nothing,
                               out_ + (first + r) * D);
  }

  const sx_attention_decode_params& args_;
  const AttentionArgs& dense_;
  int64_t group_, first_, rows_, first_head_;
  const Key* keys_;
  const Key* values_;
  Ahead next_;                          /* the keys behind those that are read now */
  int64_t scales_;                      /* of the sequence's first key */
  alignas(64) float q_[kFewRows * D];   /* of take_query() */
  alignas(64) float out_[kFewRows * D]; /* in the order of place() */
  alignas(64) float weights_[kRegisterRows * kTile + kLanes];
  RowState state_[kFewRows];
};

}  // namespace SX_ISA
}  // namespace sx

#endif
