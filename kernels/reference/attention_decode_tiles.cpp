/*
 * Scalar twin of attention_decode_tiles: one softmax over the keys of chosen tiles, those behind the
 * pooled ones, and a mean for each other tile, in double precision and two passes.
 */
#include <cmath>

#include "values.h"

namespace sx {
namespace scalar {

namespace {

using Args = sx_attention_decode_tiles_params;

/* One query of one head. */
class TilesRow {
 public:
  TilesRow(const Args& args, int64_t sequence, int64_t token, int64_t head)
      : decode_(args.attention),
        args_(args),
        dense_(dense_arguments(args.attention, sequence)),
        scales_(scales_of(args.attention, sequence)),
        head_(head / (args.attention.q_heads / args.attention.kv_heads)),
        row_(token * args.attention.q_heads + head),
        end_(visible_keys(dense_.q_offset, token, dense_.kv.key_tokens)),
        pooled_(args.pooled_tiles[sequence]) {
    const int64_t first = decode_.first_row == nullptr ? 0 : decode_.first_row[sequence] / SX_TILE;
    means_ = head_ * args.mean_head_stride + first * decode_.head_dim;
    const int64_t at = sequence * decode_.kv_heads + head_;
    count_ = args.counts[at];
    list_ = args.indices + at * args.index_stride;
  }

  void write() {
    for (int pass = 0; pass < 2; pass++) {
      const bool adds = pass == 1;
      for (int64_t i = 0; i < pooled_; i++) {
        const int64_t tile = list_[i];
        if (i >= count_) {
          see_mean(tile, adds);
          continue;
        }
        for (int64_t j = tile * SX_TILE; j < (tile + 1) * SX_TILE; j++) see_key(j, adds);
      }
      for (int64_t j = pooled_ * SX_TILE; j < end_; j++) see_key(j, adds);
    }
    const int64_t dim = decode_.head_dim;
    for (int64_t d = 0; d < dim; d++) {
      const double value = seen_ ? out_[d] / sum_ : 0;
      write_element(dense_.out, dense_.out_dtype, row_ * dim + d, static_cast<float>(value));
    }
    if (dense_.lse_log2 == nullptr) return;
    const double lse = seen_ ? (max_ + std::log(sum_)) / std::log(2.0) : -INFINITY;
    dense_.lse_log2[row_] = static_cast<float>(lse);
  }

 private:
  double dot(const void* keys, sx_dtype dtype, int64_t at) const {
    const float* q = static_cast<const float*>(dense_.q) + row_ * decode_.head_dim;
    double sum = 0;
    for (int64_t d = 0; d < decode_.head_dim; d++) {
      sum += static_cast<double>(q[d]) * read_element(keys, dtype, at + d);
    }
    return sum * decode_.scale;
  }

  void see_key(int64_t j, bool adds) {
    const double logit =
        dot(key_address(dense_.kv, head_, j), decode_.kv_dtype, 0) * scales_.key(head_, j);
    const void* values = value_address(dense_.kv, head_, j);
    see(logit, {values, decode_.kv_dtype, 0, scales_.value(head_, j)}, adds);
  }

  void see_mean(int64_t tile, bool adds) {
    const int64_t at = means_ + tile * decode_.head_dim;
    const double logit = dot(args_.mean_keys, args_.mean_dtype, at) + std::log(double{SX_TILE});
    see(logit, {args_.mean_values, args_.mean_dtype, at, 1}, adds);
  }

  /* A row of values. */
  struct Row {
    const void* base;
    sx_dtype dtype;
    int64_t at;
    double scale;
  };

  void see(double logit, const Row& row, bool adds) {
    if (!adds) {
      if (!seen_ || logit > max_) max_ = logit;
      seen_ = true;
      return;
    }
    const double weight = std::exp(logit - max_);
    sum_ += weight;
    for (int64_t d = 0; d < decode_.head_dim; d++) {
      out_[d] += weight * row.scale * read_element(row.base, row.dtype, row.at + d);
    }
  }

  const sx_attention_decode_params& decode_;
  const Args& args_;
  const AttentionArgs dense_;
  const Scales scales_;
  int64_t head_, row_, end_, pooled_, means_, count_;
  const int32_t* list_;
  bool seen_ = false;
  double max_ = 0, sum_ = 0;
  double out_[128] = {}; /* the largest head size */
};

}  // namespace

sx_status attention_decode_tiles(Context&, const Args& args) {
  for (int64_t s = 0; s < args.attention.sequences; s++) {
    for (int64_t t = 0; t < args.attention.q_tokens; t++) {
      for (int64_t h = 0; h < args.attention.q_heads; h++) TilesRow(args, s, t, h).write();
    }
  }
  return SX_OK;
}

}  // namespace scalar
}  // namespace sx
