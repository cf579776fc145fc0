/*
 * Attention of few queries of some sequences, each over its own keys (see sx_attention_decode in
 * ../sx_attention.h).
 *
 * The formula is attention_dense's. Each key head is read once for all T * HQ / HK rows that need
 * it: with up to kFewRows rows straight from the cache by the code below, with more by the packed
 * tiles of attention_dense, a sequence at a time. Behind a window every kFewRows rows read it. Accumulates in f32. FLOPs 4*D*T*HQ*N, bytes read 2*N*HK*D*sizeof(kv),
 * at the speed of memory.
 *
 * A unit of work is one key head of a sequence times one split of its keys; the splits depend on the
 * sequence's number of keys alone and attention_parts.h merges them in order. Within a split, tiles of 256 keys: logits by dot
 * products of R rows with four keys at a time, online softmax, then R rows of sums over the values.
 * bf16 is widened without a shuffle: one 32-bit lane holds an even and an odd element, so that
 * queries and sums keep the even elements of a vector pair before the odd ones.
 */
#include <immintrin.h>
#include <math.h>

#include "attention_tile.h"
#include "thread_pool.h"

namespace sx {
namespace SX_ISA {

namespace {

/* From more rows on, packing a tile once is cheaper than dot products for every row. */
constexpr int64_t kFewRows = 8;
/* Rows whose sums fit the registers beside four keys: 3 x 4 of 16, 6 x 4 of 32. */
constexpr int kRegisterRows = kLanes == 8 ? 3 : 6;
/* Keys per tile: with D = 128 in f32 its values are 128 KiB, which L2 holds from logits to sums. */
constexpr int64_t kTile = 256;
/* At most 32 splits per key head: enough for the cores, few for the merge. */
constexpr int64_t kSplits = 32;
/* Keys and values are asked for so many rows ahead: the processor's own prefetching ends at each
 * page of 4 KiB. */
constexpr int64_t kAheadRows = 64;
/* Where element d of a row lies in the order of load_pair. */
SX_INLINE int64_t place(const float*, int64_t d) { return d; }
SX_INLINE int64_t place(const bf16*, int64_t d) {
  return d / kPair * kPair + d % 2 * kLanes + d % kPair / 2;
}

/* The sums of four vectors. */
SX_INLINE __m128 reduce_four(Vec a, Vec b, Vec c, Vec d) {
#if defined(__AVX512F__)
  const auto half = [](Vec v) {
    return _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
  };
  const __m256 ab = _mm256_hadd_ps(half(a), half(b)), cd = _mm256_hadd_ps(half(c), half(d));
#else
  const __m256 ab = _mm256_hadd_ps(a, b), cd = _mm256_hadd_ps(c, d);
#endif
  const __m256 sums = _mm256_hadd_ps(ab, cd);
  return _mm_add_ps(_mm256_castps256_ps128(sums), _mm256_extractf128_ps(sums, 1));
}

/* logits[r][0..count) = q[r] . k of `count` keys, in fours; those past the last key repeat it. */
template <class Key, int D, int R>
void multiply_keys(const float* q, const Key* keys, int64_t stride, int64_t count, float* logits) {
  for (int64_t n = 0; n < count; n += 4) {
    const Key* key[4];
    for (int i = 0; i < 4; i++) key[i] = keys + min64(n + i, count - 1) * stride;
    Vec sums[R][4];
#pragma GCC unroll 8
    for (int r = 0; r < R; r++) sums[r][0] = sums[r][1] = sums[r][2] = sums[r][3] = zero();
    for (int64_t d = 0; d < D; d += kPair) {
#pragma GCC unroll 4
      for (int i = 0; i < 4; i++) {
        Vec first, second;
        prefetch(key[i] + d + kAheadRows * stride);
        load_pair(key[i] + d, first, second);
#pragma GCC unroll 8
        for (int r = 0; r < R; r++) {
          sums[r][i] = fma(load(q + r * D + d), first, sums[r][i]);
          sums[r][i] = fma(load(q + r * D + d + kLanes), second, sums[r][i]);
        }
      }
    }
#pragma GCC unroll 8
    for (int r = 0; r < R; r++) {
      _mm_storeu_ps(logits + r * kTile + n,
                    reduce_four(sums[r][0], sums[r][1], sums[r][2], sums[r][3]));
    }
  }
}

/* out[r] = out[r] * alpha[r] + sum over `count` keys of weights[r][key] * values[key]. */
template <class Key, int D, int R>
void multiply_values(const float* weights, const float* alpha, const Key* values, int64_t stride,
                     int64_t count, float* out) {
  for (int64_t d = 0; d < D; d += 2 * kPair) {
    Vec sums[R][4];
#pragma GCC unroll 8
    for (int r = 0; r < R; r++) {
#pragma GCC unroll 4
      for (int i = 0; i < 4; i++) {
        sums[r][i] = mul(load(out + r * D + d + i * kLanes), broadcast(alpha[r]));
      }
    }
    for (int64_t n = 0; n < count; n++) {
#pragma GCC unroll 2
      for (int i = 0; i < 4; i += 2) {
        Vec first, second;
        prefetch(values + (n + kAheadRows) * stride + d + i * kLanes);
        load_pair(values + n * stride + d + i * kLanes, first, second);
#pragma GCC unroll 8
        for (int r = 0; r < R; r++) {
          const Vec weight = broadcast(weights[r * kTile + n]);
          sums[r][i] = fma(weight, first, sums[r][i]);
          sums[r][i + 1] = fma(weight, second, sums[r][i + 1]);
        }
      }
    }
#pragma GCC unroll 8
    for (int r = 0; r < R; r++) {
#pragma GCC unroll 4
      for (int i = 0; i < 4; i++) store(out + r * D + d + i * kLanes, sums[r][i]);
    }
  }
}

/* Some of the rows of one key head of a sequence, over one split of its keys. */
template <class Key, int D>
class Split {
  static_assert(D % (2 * kPair) == 0, "rows are whole double pairs");

 public:
  /* dense: the sequence by itself; first: its first row of the T * HQ / HK that share the key head. */
  Split(const sx_attention_decode_params& args, const AttentionArgs& dense, int64_t kv_head,
        int64_t first)
      : args_(args),
        dense_(dense),
        group_(args.q_heads / args.kv_heads),
        first_(first),
        rows_(min64(kFewRows, args.q_tokens * group_ - first)),
        first_head_(kv_head * group_),
        keys_(static_cast<const Key*>(dense.kv.keys) + kv_head * args.head_stride),
        values_(static_cast<const Key*>(dense.kv.values) + kv_head * args.head_stride) {
    for (int64_t r = 0; r < rows_; r++) {
      const float* q = static_cast<const float*>(dense.q) + row_of(r) * D;
      for (int64_t d = 0; d < D; d++) {
        q_[r * D + place(keys_, d)] = q[d] * (args.scale * 1.44269504088896341f);
        out_[r * D + d] = 0;
      }
      state_[r] = {-INFINITY, 0};
    }
  }

  void add_keys(int64_t begin, int64_t end) {
    for (int64_t key = begin; key < end; key += kTile) {
      const int64_t count = min64(kTile, end - key);
      for (int64_t r = 0; r < rows_; r += kRegisterRows) {
        with_rows<kRegisterRows>(min64(kRegisterRows, rows_ - r),
                                 [&](auto rows) { this->add_tile<rows()>(r, key, count); });
      }
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

  template <int R>
  void add_tile(int64_t first, int64_t key, int64_t count) {
    int64_t visible[R], hidden[R], least = count, most = 0;
    for (int r = 0; r < R; r++) {
      const int64_t token = (first_ + first + r) / group_;
      visible[r] = visible_keys(dense_.q_offset - key, token, count);
      const int64_t end = visible_keys(dense_.q_offset, token, dense_.kv.key_tokens);
      hidden[r] = max64(0, first_visible(args_, end) - key);
      if (hidden[r] >= visible[r]) visible[r] = 0;
      least = min64(least, visible[r]);
      most = max64(most, visible[r]);
    }
    if (most == 0) return;
    const int64_t stride = args_.token_stride;
    multiply_keys<Key, D, R>(q_ + first * D, keys_ + key * stride, stride, most, weights_);
    float alpha[R];
    for (int r = 0; r < R; r++) {
      float* weights = weights_ + r * kTile;
      for (int64_t k = 0; k < min64(hidden[r], visible[r]); k++) weights[k] = -INFINITY;
      alpha[r] = visible[r] == 0 ? 1 : softmax_row(weights, visible[r], state_[first + r]);
    }
    const Key* values = values_ + key * stride;
    multiply_values<Key, D, R>(weights_, alpha, values, stride, least, out_ + first * D);
    const float one = 1;
    for (int r = 0; r < R; r++) {
      if (visible[r] == least) continue;
      multiply_values<Key, D, 1>(weights_ + r * kTile + least, &one, values + least * stride,
                                 stride, visible[r] - least, out_ + (first + r) * D);
    }
  }

  const sx_attention_decode_params& args_;
  const AttentionArgs& dense_;
  int64_t group_, first_, rows_, first_head_;
  const Key* keys_;
  const Key* values_;
  alignas(64) float q_[kFewRows * D];   /* scaled, in load_pair's order */
  alignas(64) float out_[kFewRows * D]; /* in load_pair's order */
  alignas(64) float weights_[kRegisterRows * kTile];
  RowState state_[kFewRows];
};

/* How the keys of one sequence are split, by their number alone. */
struct SequencePlan {
  int64_t first_key, split_keys, splits;
  int64_t parts;      /* floats of the parts of the sequences before */
  int64_t first_unit; /* of work, over all sequences */
};

SequencePlan plan_sequence(const sx_attention_decode_params& args, int64_t sequence) {
  SequencePlan plan = {};
  const int64_t count = args.key_count[sequence];
  plan.first_key = first_visible(args, args.causal ? count - args.q_tokens + 1 : count);
  const int64_t keys = count - plan.first_key;
  plan.split_keys = max64(kTile, round_up(ceil_div(keys, kSplits), kTile));
  plan.splits = max64(1, ceil_div(keys, plan.split_keys));
  return plan;
}

/* The sequence of a unit of work. */
int64_t sequence_of(const SequencePlan* plans, int64_t sequences, int64_t unit) {
  int64_t low = 0, high = sequences - 1;
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

template <class Key, int D>
void run_unit(const sx_attention_decode_params& args, const SequencePlan& plan, int64_t sequence,
              int64_t unit, float* parts) {
  const int64_t row_groups = ceil_div(args.q_tokens * (args.q_heads / args.kv_heads), kFewRows);
  const AttentionArgs dense = dense_arguments(args, sequence);
  const int64_t split = unit % plan.splits, rows = unit / plan.splits;
  const int64_t first = plan.first_key + split * plan.split_keys;
  Split<Key, D> keys(args, dense, rows / row_groups, rows % row_groups * kFewRows);
  keys.add_keys(first, min64(first + plan.split_keys, args.key_count[sequence]));
  keys.finish(parts + plan.parts + split * args.q_tokens * args.q_heads * (D + 2));
}

template <class Key, int D>
sx_status run(Context& context, const sx_attention_decode_params& args) {
  const int64_t rows = args.q_tokens * args.q_heads;
  const int64_t row_groups = ceil_div(args.q_tokens * (args.q_heads / args.kv_heads), kFewRows);
  const int64_t plan_bytes = round_up(args.sequences * int64_t{sizeof(SequencePlan)}, 64);
  int64_t floats = 0, units = 0;
  for (int64_t s = 0; s < args.sequences; s++) {
    floats += plan_sequence(args, s).splits * rows * (D + 2);
  }
  char* memory = static_cast<char*>(scratch(context, plan_bytes + floats * 4));
  if (memory == nullptr) {
    return out_of_scratch(context, "attention_decode", plan_bytes + floats * 4);
  }
  SequencePlan* plans = reinterpret_cast<SequencePlan*>(memory);
  float* parts = reinterpret_cast<float*>(memory + plan_bytes);
  floats = 0;
  for (int64_t s = 0; s < args.sequences; s++) {
    plans[s] = plan_sequence(args, s);
    plans[s].parts = floats;
    plans[s].first_unit = units;
    floats += plans[s].splits * rows * (D + 2);
    units += plans[s].splits * args.kv_heads * row_groups;
  }
  parallel_for(context, units, 1, [&](int64_t begin, int64_t end, int32_t) {
    for (int64_t unit = begin; unit < end; unit++) {
      const int64_t s = sequence_of(plans, args.sequences, unit);
      run_unit<Key, D>(args, plans[s], s, unit - plans[s].first_unit, parts);
    }
  });
  const int64_t row_bytes = ceil_div(floats * 4, args.sequences * rows);
  parallel_for(context, args.sequences * rows, row_grain(row_bytes),
               [&](int64_t begin, int64_t end, int32_t) {
                 for (int64_t row = begin; row < end; row++) {
                   const int64_t s = row / rows;
                   merge_row<D>(dense_arguments(args, s), parts + plans[s].parts, plans[s].splits,
                                row % rows);
                 }
               });
  return SX_OK;
}

}  // namespace

sx_status attention_decode(Context& context, const sx_attention_decode_params& args) {
  if (args.q_tokens == 0 || args.sequences == 0) return SX_OK;
  if (args.window == 0 && args.q_tokens * (args.q_heads / args.kv_heads) > kFewRows) {
    for (int64_t s = 0; s < args.sequences; s++) {
      const sx_status status = attention_dense(context, dense_arguments(args, s));
      if (status != SX_OK) return status;
    }
    return SX_OK;
  }
  if (args.kv_dtype == SX_BF16) {
    return args.head_dim == 64 ? run<bf16, 64>(context, args) : run<bf16, 128>(context, args);
  }
  return args.head_dim == 64 ? run<float, 64>(context, args) : run<float, 128>(context, args);
}

}  // namespace SX_ISA
}  // namespace sx
