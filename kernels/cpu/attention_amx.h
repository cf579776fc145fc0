/*
 * The attention tile of attention_tile.h on the matrix unit (amx.h), for bf16 keys and values.
 *
 * Queries and softmax weights are rounded to bf16, as FlashAttention does on GPUs; logits, softmax
 * and sums stay in f32. Rows go in groups of 32, keys in tiles of kKeys: keys are packed as right
 * tiles along D, values along the keys. FLOPs and bytes as in attention_tile.h; packing a tile costs
 * about 2 % of using it, and the softmax takes twice as long as the products.
 *
 * A row's weights of keys that it does not see are zero. Zero times a NaN would still be one, so a
 * tile of values that holds a NaN or an infinity is multiplied key by key, up to the last visible.
 */
#ifndef SX_CPU_ATTENTION_AMX_H
#define SX_CPU_ATTENTION_AMX_H

#include "amx.h"
#include "attention_rows.h"

#ifdef SX_HAS_TILES

namespace sx {
namespace SX_ISA {

/* 2^x for -125 <= x <= 0, off by 3e-6 of itself: finer than the bf16 it becomes. The polynomial is
 * fitted to 2^f on [-1/2, 1/2] for the least relative error. */
SX_INLINE Vec exp2_weight(Vec x) {
  constexpr float c0 = 9.9999926e-1f, c1 = 6.9312181e-1f, c2 = 2.4024745e-1f, c3 = 5.5917860e-2f,
                  c4 = 9.5701000e-3f;
  const Vec n = _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  const Vec f = sub(x, n);
  Vec y = fma(broadcast(c4), f, broadcast(c3));
  y = fma(y, f, broadcast(c2));
  y = fma(y, f, broadcast(c1));
  y = fma(y, f, broadcast(c0));
  return _mm512_scalef_ps(y, n);
}

/* Weights below 2^-125 are taken for that: smaller ones would be denormal, and slow. The order of
 * the operands keeps a NaN. */
SX_INLINE Vec weight_of(Vec logit, Vec factor, Vec shift) {
  return exp2_weight(max(broadcast(-125.0f), fms(logit, factor, shift)));
}

/* One key/value head's query rows and their running sums, in scratch memory of kBytes. */
template <int D>
class AmxTile : public TileRows<D> {
 public:
  using Rows = TileRows<D>;
  static constexpr int64_t kKeys = Rows::kKeys;
  static constexpr int64_t kGroup = kTwoSides;
  static constexpr int64_t kGroups = (kTileRows + kGroup - 1) / kGroup;
  static constexpr int64_t kBytes = 4 * Rows::kRowFloats + kGroups * kGroup * D * 2 +
                                    2 * kKeys * D * 2 + kGroup * kKeys * 6 + kGroup * D * 4 + 64;
  static_assert(kKeys % kGroup == 0 && D % kGroup == 0, "tiles are whole");

  explicit AmxTile(void* scratch) : Rows(static_cast<float*>(scratch)) {
    char* p = static_cast<char*>(scratch) + round_up(4 * Rows::kRowFloats, 64);
    q_ = p;
    keys_ = q_ + kGroups * kGroup * D * 2;
    values_ = keys_ + kKeys * D * 2;
    logits_ = reinterpret_cast<float*>(values_ + kKeys * D * 2);
    weights_ = reinterpret_cast<char*>(logits_ + kGroup * kKeys);
    sums_ = reinterpret_cast<float*>(weights_ + kGroup * kKeys * 2);
  }

  /* Takes `tokens` queries from first_token on, of `heads` query heads from first_head on. */
  void begin(const AttentionArgs& args, int64_t first_token, int64_t tokens, int64_t first_head,
             int64_t heads) {
    this->begin_rows(first_token, tokens, first_head, heads);
    factor_ = args.scale * 1.44269504088896341f;
    for (int64_t r = 0; r < round_up(this->rows_, kGroup); r++) {
      char* tile = q_ + r / kGroup * kGroup * D * 2 + r % kGroup / kTileSide * kTileBytes +
                   r % kTileSide * 64;
      const float* q = r < this->rows_
                           ? static_cast<const float*>(args.q) + this->row_of(args, r) * D
                           : nullptr;
      for (int64_t d = 0; d < D; d += kTileDepth, tile += 2 * kTileBytes) {
        const __m512bh row = q == nullptr ? (__m512bh)zero()
                                          : _mm512_cvtne2ps_pbh(load(q + d + kLanes), load(q + d));
        _mm512_store_si512(tile, (__m512i)row);
      }
    }
  }

  /* Adds the keys begin..end - 1, at most kKeys of one segment. */
  void add_keys(const AttentionArgs& args, int64_t kv_head, int64_t begin, int64_t end) {
    const char* keys = key_address(args.kv, kv_head, begin);
    const char* values = value_address(args.kv, kv_head, begin);
    const int64_t step = row_bytes(args.kv, begin);
    pack_keys(keys, step, end - begin);
    const bool finite = pack_values(values, step, end - begin);
    this->see_keys(args, begin, end);
    for (int64_t r = 0; r < this->rows_; r += kGroup) {
      const int count = static_cast<int>(min64(kGroup, this->rows_ - r));
      int64_t least, most;
      this->visible_range(r, count, least, most);
      if (most == 0) continue;
      multiply_keys(r, most);
      const bool rescale = weigh(r, count, round_up(most, kTileDepth));
      if (!finite) {
        add_singly(r, count, values, step);
      } else {
        multiply_values(r, count, ceil_div(most, kTileDepth), rescale);
      }
    }
  }

 private:
  /* Right tiles [panels of 32 keys][steps of 32 along D][2]; keys past the end are zero. */
  void pack_keys(const char* keys, int64_t step, int64_t count) {
    char* out = keys_;
    for (int64_t k = 0; k < count; k += kTwoSides) {
      for (int64_t d = 0; d < D; d += kTileDepth) {
        for (int64_t n = k; n < k + kTwoSides; n += kTileSide, out += kTileBytes) {
          const char* rows = keys + n * step + d * 2;
          if (n + kTileSide <= count) {
            pack_right_tile(out, rows, step);
          } else {
            pack_right_edge(out, rows, step, max64(0, count - n), kTileDepth);
          }
        }
      }
    }
  }

  /* Right tiles [panels of 32 columns][steps of 32 keys][2]; keys past the end are zero. Returns
   * whether all values are finite. */
  bool pack_values(const char* values, int64_t step, int64_t count) {
    const __m512i exponent = _mm512_set1_epi16(0x7f80);
    __mmask32 other = 0;
    const int64_t padded = round_up(count, kTileDepth);
    for (int64_t n = 0; n < padded; n += 2) {
      for (int64_t d = 0; d < D; d += kTwoSides) {
        const char* even = values + n * step + d * 2;
        const __m512i a = n < count ? half(even) : _mm512_setzero_si512();
        const __m512i b = n + 1 < count ? half(even + step) : _mm512_setzero_si512();
        const __m512i pairs = _mm512_or_si512(a, _mm512_slli_epi32(b, 16));
        const __m512i c = n < count ? half(even + 32) : _mm512_setzero_si512();
        const __m512i e = n + 1 < count ? half(even + step + 32) : _mm512_setzero_si512();
        const __m512i more = _mm512_or_si512(c, _mm512_slli_epi32(e, 16));
        other |= _mm512_cmpeq_epi16_mask(_mm512_and_si512(pairs, exponent), exponent) |
                 _mm512_cmpeq_epi16_mask(_mm512_and_si512(more, exponent), exponent);
        char* tile = values_ + (d * kKeys + n / kTileDepth * kTileDepth * kTwoSides) * 2 +
                     n % kTileDepth / 2 * 64;
        _mm512_store_si512(tile, pairs);
        _mm512_store_si512(tile + kTileBytes, more);
      }
    }
    return other == 0;
  }

  /* 16 bf16, each in the lower half of 32 bits. */
  static __m512i half(const char* p) {
    return _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  }

  /* logits_ [32][kKeys] of a group's rows for the first `most` keys, in whole panels. */
  void multiply_keys(int64_t first, int64_t most) {
    for (int64_t k = 0; k < most; k += kTwoSides) {
      zero_sums();
      multiply_two_by_two(q_ + first * D * 2, keys_ + k * D * 2, D / kTileDepth);
      store_sums(logits_ + k, kKeys);
    }
  }

  /* Turns the logits of a group into weights, left tiles [steps of 32 keys][2], with zeros for what
   * a row does not see, up to `padded` keys. Returns whether what was summed before must shrink. */
  bool weigh(int64_t first, int count, int64_t padded) {
    bool rescale = false;
    for (int r = 0; r < kGroup; r++) {
      char* tile = weights_ + r / kTileSide * kTileBytes + r % kTileSide * 64;
      alpha_[r] = 1;
      int64_t k = 0;
      if (r < count && this->visible_[first + r] > 0) {
        const int64_t visible = this->visible_[first + r];
        k = round_up(visible, kTileDepth);
        alpha_[r] = weigh_row(logits_ + r * kKeys, visible, tile, this->state_[first + r]);
        rescale = rescale || alpha_[r] != 1;
      }
      for (; k < padded; k += kTileDepth) {
        _mm512_store_si512(tile + k / kTileDepth * 2 * kTileBytes, _mm512_setzero_si512());
      }
    }
    return rescale;
  }

  /* One row of weigh(): the online softmax of attention_rows.h, its weights rounded to bf16. */
  float weigh_row(const float* s, int64_t visible, char* tile, RowState& state) const {
    const int64_t whole = visible / kTileDepth * kTileDepth;
    const uint32_t seen = (1u << (visible - whole)) - 1;
    const __mmask16 low = static_cast<__mmask16>(seen), high = static_cast<__mmask16>(seen >> 16);
    const Vec none = broadcast(-INFINITY);
    Vec top = none, other = none;
    for (int64_t k = 0; k < whole; k += kTileDepth) {
      top = max(top, load(s + k));
      other = max(other, load(s + k + kLanes));
    }
    if (seen != 0) {
      top = max(top, _mm512_mask_loadu_ps(none, low, s + whole));
      other = max(other, _mm512_mask_loadu_ps(none, high, s + whole + kLanes));
    }
    const float row_max = larger(state.max_log2, reduce_max(max(top, other)) * factor_);
    const Vec shift = broadcast(row_max), factor = broadcast(factor_);
    Vec sum = zero(), rest = zero();
    for (int64_t k = 0; k < whole; k += kTileDepth, tile += 2 * kTileBytes) {
      const Vec a = weight_of(load(s + k), factor, shift);
      const Vec b = weight_of(load(s + k + kLanes), factor, shift);
      sum = add(sum, a);
      rest = add(rest, b);
      _mm512_store_si512(tile, (__m512i)_mm512_cvtne2ps_pbh(b, a));
    }
    if (seen != 0) {
      const Vec a = _mm512_maskz_mov_ps(low, weight_of(load(s + whole), factor, shift));
      const Vec b = _mm512_maskz_mov_ps(high, weight_of(load(s + whole + kLanes), factor, shift));
      sum = add(sum, a);
      rest = add(rest, b);
      _mm512_store_si512(tile, (__m512i)_mm512_cvtne2ps_pbh(b, a));
    }
    const float alpha = exp2f(state.max_log2 - row_max);
    state.max_log2 = row_max;
    state.sum = state.sum * alpha + reduce_add(add(sum, rest));
    return alpha;
  }

  /* out_ = out_ * alpha + weights x values. */
  void multiply_values(int64_t first, int count, int64_t steps, bool rescale) {
    float* out = this->out_ + first * D;
    if (rescale) scale_rows(out, count);
    const bool whole = count == kGroup;
    if (!whole) {
      __builtin_memcpy(sums_, out, static_cast<size_t>(count * D * 4));
      out = sums_;
    }
    for (int64_t d = 0; d < D; d += kTwoSides) {
      load_sums(out + d, D);
      multiply_two_by_two(weights_, values_ + d * kKeys * 2, steps);
      store_sums(out + d, D);
    }
    if (!whole) {
      __builtin_memcpy(this->out_ + first * D, sums_, static_cast<size_t>(count * D * 4));
    }
  }

  void scale_rows(float* out, int count) const {
    for (int r = 0; r < count; r++, out += D) {
      const Vec factor = broadcast(alpha_[r]);
      for (int64_t d = 0; d < D; d += kLanes) store(out + d, mul(load(out + d), factor));
    }
  }

  /* multiply_values() without a product of a key that its row does not see. */
  void add_singly(int64_t first, int count, const char* values, int64_t step) {
    float* out = this->out_ + first * D;
    scale_rows(out, count);
    for (int r = 0; r < count; r++, out += D) {
      const bf16* weights = reinterpret_cast<const bf16*>(
          weights_ + r / kTileSide * kTileBytes + r % kTileSide * 64);
      for (int64_t n = 0; n < this->visible_[first + r]; n++) {
        const int64_t tiles = n / kTileDepth * 2 * kTileBytes / 2;
        const Vec weight = broadcast(widen(weights[tiles + n % kTileDepth]));
        const bf16* value = reinterpret_cast<const bf16*>(values + n * step);
        for (int64_t d = 0; d < D; d += kLanes) {
          store(out + d, fma(weight, load(value + d), load(out + d)));
        }
      }
    }
  }

  const TileScope scope_;
  char* q_;       /* left tiles [groups][D / 32][2] */
  char* keys_;    /* right tiles, see pack_keys() */
  char* values_;  /* right tiles, see pack_values() */
  float* logits_; /* [32][kKeys] */
  char* weights_; /* left tiles [kKeys / 32][2] */
  float* sums_;   /* [32][D], for a group that is not whole */
  float alpha_[kGroup];
  float factor_ = 0; /* scale * log2(e) */
};

}  // namespace SX_ISA
}  // namespace sx

#endif
#endif
