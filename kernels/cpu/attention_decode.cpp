/*
 * Attention of few queries over a long cache (see sx_attention_decode in ../sx_kernels.h).
 *
 * The formula is attention_dense's. Each key head is read once for all T * HQ / HK rows that need
 * it: with up to kFewRows rows straight from the cache by the code below, with more by the packed
 * tiles of attention_dense. Accumulates in f32. FLOPs 4*D*T*HQ*N, bytes read 2*N*HK*D*sizeof(kv),
 * at the speed of memory.
 *
 * A unit of work is one key head times one split of the keys; the splits depend on N alone and
 * attention_parts.h merges them in order. Within a split, tiles of 256 keys: logits by dot
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

/* The rows of one key head over one split of its keys. */
template <class Key, int D>
class Split {
  static_assert(D % (2 * kPair) == 0, "rows are whole double pairs");

 public:
  Split(const DecodeArgs& args, int64_t kv_head)
      : args_(args), group_(args.q_heads / args.kv_heads), rows_(args.q_tokens * group_),
        first_head_(kv_head * group_),
        keys_(static_cast<const Key*>(args.keys) + kv_head * args.head_stride),
        values_(static_cast<const Key*>(args.values) + kv_head * args.head_stride) {
    for (int64_t r = 0; r < rows_; r++) {
      const float* q = static_cast<const float*>(args.q) + row_of(r) * D;
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
        with_rows<kRegisterRows>(min64(kRegisterRows, rows_ - r), [&](auto rows) {
          this->add_tile<rows()>(r, key, count);
        });
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
    return r / group_ * args_.q_heads + first_head_ + r % group_;
  }

  template <int R>
  void add_tile(int64_t first, int64_t key, int64_t count) {
    int64_t visible[R], least = count, most = 0;
    for (int r = 0; r < R; r++) {
      const int64_t offset = args_.causal ? *args_.key_count - args_.q_tokens : *args_.key_count;
      visible[r] = visible_keys(offset - key, (first + r) / group_, count);
      least = min64(least, visible[r]);
      most = max64(most, visible[r]);
    }
    if (most == 0) return;
    const int64_t stride = args_.token_stride;
    multiply_keys<Key, D, R>(q_ + first * D, keys_ + key * stride, stride, most, weights_);
    float alpha[R];
    for (int r = 0; r < R; r++) {
      alpha[r] = visible[r] == 0 ? 1
                                 : softmax_row(weights_ + r * kTile, visible[r], state_[first + r]);
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

  const DecodeArgs& args_;
  int64_t group_, rows_, first_head_;
  const Key* keys_;
  const Key* values_;
  alignas(64) float q_[kFewRows * D];   /* scaled, in load_pair's order */
  alignas(64) float out_[kFewRows * D]; /* in load_pair's order */
  alignas(64) float weights_[kRegisterRows * kTile];
  RowState state_[kFewRows];
};

template <class Key, int D>
sx_status run(Context& context, const DecodeArgs& args) {
  const int64_t keys = *args.key_count;
  const int64_t split_keys = max64(kTile, round_up(ceil_div(keys, kSplits), kTile));
  const int64_t splits = max64(1, ceil_div(keys, split_keys));
  const int64_t part_floats = args.q_tokens * args.q_heads * (D + 2);
  const int64_t bytes = splits * part_floats * 4;
  float* parts = static_cast<float*>(scratch(context, bytes));
  if (parts == nullptr) return out_of_scratch(context, "attention_decode", bytes);
  parallel_for(context, args.kv_heads * splits, 1, [&](int64_t begin, int64_t end, int32_t) {
    for (int64_t unit = begin; unit < end; unit++) {
      const int64_t first = unit % splits * split_keys;
      Split<Key, D> split(args, unit / splits);
      split.add_keys(first, min64(first + split_keys, keys));
      split.finish(parts + unit % splits * part_floats);
    }
  });
  merge_parts<D>(context, dense_arguments(args), parts, splits);
  return SX_OK;
}

}  // namespace

sx_status attention_decode(Context& context, const DecodeArgs& args) {
  if (args.q_tokens * (args.q_heads / args.kv_heads) > kFewRows) {
    return attention_dense(context, dense_arguments(args));
  }
  if (args.kv_dtype == SX_BF16) {
    return args.head_dim == 64 ? run<bf16, 64>(context, args) : run<bf16, 128>(context, args);
  }
  return args.head_dim == 64 ? run<float, 64>(context, args) : run<float, 128>(context, args);
}

}  // namespace SX_ISA
}  // namespace sx
