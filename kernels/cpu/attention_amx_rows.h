/*
 * Query rows of attention_amx.h: the online softmax over jobs, masks, and what becomes of the sums.
 *
 * A row's maximum stays until a weight would exceed 2^kMostGrowth. So most jobs need no pass over
 * their logits before the one that makes weights of them, and sums are seldom rescaled.
 */
#ifndef SX_CPU_ATTENTION_AMX_ROWS_H
#define SX_CPU_ATTENTION_AMX_ROWS_H

#include "attention_amx_parts.h"
#include "attention_rows.h"

#ifdef SX_HAS_TILES

namespace sx {
namespace SX_ISA {

/* Rows of a job. */
constexpr int64_t kAmxGroup = kTwoSides;
/* Keys of a job: with 32 rows their logits take 8 KiB, and two such buffers stay in L1 beside the
 * keys and values that pass. Stores that miss L1 take several cycles a line. */
constexpr int64_t kAmxChunk = 64;
/* A weight is at most 2 to the power of this. */
constexpr int kMostGrowth = 8;

/* Work of one group of rows with one chunk of keys. */
struct AmxJob {
  int64_t row;     /* the group's first */
  int64_t count;   /* keys, a multiple of 32; 0 if there is no job */
  int64_t visible; /* how many of the keys the tile's first token sees, if there are so many */
  int64_t whole;   /* keys that there are */
  int64_t begin;   /* the number of the first in the sequence */
  const char* keys;
  const char* values; /* packed */
  const char* raw;    /* values where they lie */
  int64_t key_step, step;
  float* logits; /* S^T, then P^T in its place: two halves of 16 rows, [kAmxChunk][16] */
  bool masked;   /* whether a row does not see all of the keys */
  bool finite;   /* whether zero times any value is zero */
  bool rescale;  /* whether the sums before must be multiplied by alpha */
  alignas(64) float alpha[kAmxGroup];
};

/* Up to kTileRows query rows, in groups of 16 lanes: row r is token r / heads, head r % heads. */
template <int D>
class AmxRows {
 public:
  static constexpr int64_t kRows = (kTileRows + kAmxGroup - 1) / kAmxGroup * kAmxGroup;
  static constexpr int64_t kRowsBytes = kRows * (D * 6 + 8);

 protected:
  /* memory: kRowsBytes. */
  explicit AmxRows(char* memory)
      : out_(reinterpret_cast<float*>(memory)),
        max_(out_ + kRows * D),
        sum_(max_ + kRows),
        q_(reinterpret_cast<char*>(sum_ + kRows)) {}

  /* Takes `tokens` queries from first_token on, of `heads` query heads from first_head on. */
  void begin_rows(const AttentionArgs& args, int64_t first_token, int64_t tokens,
                  int64_t first_head, int64_t heads) {
    window_ = window_of(args.kv, args.window);
    q_offset_ = args.q_offset;
    rows_ = tokens * heads;
    heads_ = heads;
    first_token_ = first_token;
    first_head_ = first_head;
    factor_ = fabsf(args.scale) * 1.44269504088896341f;
    const int64_t padded = round_up(rows_, kAmxGroup);
    for (int64_t r = 0; r < padded; r += kTileSide) {
      const float* rows[kTileSide];
      for (int64_t i = 0; i < kTileSide; i++) {
        rows[i] =
            r + i < rows_ ? static_cast<const float*>(args.q) + row_of(args, r + i) * D : nullptr;
      }
      pack_queries<D>(q_ + r * D * 2, rows, args.scale < 0);
      store(max_ + r, broadcast(-INFINITY));
      store(sum_ + r, zero());
    }
    __builtin_memset(out_, 0, static_cast<size_t>(padded * D * 4));
  }

  /* Divides by the sums and writes outputs and log-sum-exps. */
  void write_rows(const AttentionArgs& args) const {
    alignas(64) float sums[kTileSide * D];
    for (int64_t r = 0; r < rows_; r++) {
      if (r % kTileSide == 0) transpose_columns<D>(sums, out_ + r * D);
      const int64_t row = row_of(args, r);
      write_row(args.out, args.out_dtype, row, D, sums + r % kTileSide * D,
                sum_[r] == 0 ? 0 : 1 / sum_[r]);
      if (args.lse_log2 != nullptr) args.lse_log2[row] = max_[r] + log2f(sum_[r]);
    }
  }

  /* Writes row r's unnormalized sums [D], maximum and sum to parts + row * (D + 2) for a merge. */
  void write_parts(const AttentionArgs& args, float* parts) const {
    alignas(64) float sums[kTileSide * D];
    for (int64_t r = 0; r < rows_; r++) {
      if (r % kTileSide == 0) transpose_columns<D>(sums, out_ + r * D);
      float* part = parts + row_of(args, r) * (D + 2);
      __builtin_memcpy(part, sums + r % kTileSide * D, D * 4);
      part[D] = max_[r];
      part[D + 1] = sum_[r];
    }
  }

  int64_t row_of(const AttentionArgs& args, int64_t r) const {
    return (first_token_ + r / heads_) * args.q_heads + first_head_ + r % heads_;
  }

  /* Sets what weights are relative to. A row's first job and one with a mask need a pass over their
   * logits for it; in others the maxima so far will do, which exceeds() checks. */
  void begin_weights(AmxJob& job) {
    job.rescale = false;
    if (job.masked || has_new_rows(job)) move_maxima(job);
    set_shifts(job);
  }

  /* Whether a row of a job has seen no key yet: all of them at first, and later those whose window
   * begins behind the keys that others of the group have seen. */
  bool has_new_rows(const AmxJob& job) const {
    const Vec none = broadcast(-INFINITY), first = load(max_ + job.row);
    const Vec second = load(max_ + job.row + kTileSide);
    return (_mm512_cmp_ps_mask(first, none, _CMP_EQ_OQ) |
            _mm512_cmp_ps_mask(second, none, _CMP_EQ_OQ)) != 0;
  }

  void set_shifts(const AmxJob& job) {
    for (int q = 0; q < 2; q++) {
      const Vec top = load(max_ + job.row + q * kTileSide);
      const __mmask16 none = _mm512_cmp_ps_mask(top, broadcast(-INFINITY), _CMP_EQ_OQ);
      store(shift_ + q * kTileSide, _mm512_mask_mov_ps(top, none, zero()));
    }
  }

  /* Masks the logits of a job, and moves the maxima of rows whose logits exceed them too far. */
  void move_maxima(AmxJob& job) {
    if (!job.rescale) {
      for (int64_t i = 0; i < kAmxGroup; i++) job.alpha[i] = 1;
    }
    for (int q = 0; q < 2; q++) {
      float* maxima = max_ + job.row + q * kTileSide;
      const Vec top = mul(take_top(job, q), broadcast(factor_));
      const Vec old = load(maxima);
      const __mmask16 grown = _mm512_cmp_ps_mask(top, add(old, broadcast(kMostGrowth)), _CMP_GT_OQ);
      if (grown == 0) continue;
      const Vec moved = _mm512_mask_mov_ps(old, grown, top);
      float* alpha = job.alpha + q * kTileSide;
      store(alpha, _mm512_mask_mul_ps(load(alpha), grown, load(alpha), exp2(sub(old, moved))));
      store(maxima, moved);
      job.rescale = true;
    }
  }

  /* How many of a job's keys, at most all, lie before the window of a row. */
  int64_t hidden(const AmxJob& job, int64_t row) const {
    const int64_t first = window_.first_key(q_offset_ + first_token_ + row / heads_);
    return max64(0, min64(first - job.begin, job.count));
  }

  /* The largest logit of each row; those of keys that a row does not see become -inf. */
  Vec take_top(const AmxJob& job, int q) const {
    alignas(64) int32_t sees[kTileSide], hides[kTileSide];
    for (int64_t i = 0; i < kTileSide; i++) {
      const int64_t row = job.row + q * kTileSide + i;
      sees[i] = static_cast<int32_t>(max64(0, min64(job.visible + row / heads_, job.whole)));
      hides[i] = static_cast<int32_t>(hidden(job, row));
    }
    const __m512i visible = _mm512_load_si512(sees), before = _mm512_load_si512(hides);
    float* s = job.logits + q * kAmxChunk * kTileSide;
    Vec top = broadcast(-INFINITY);
    for (int64_t k = 0; k < job.count; k++, s += kTileSide) {
      const __m512i key = _mm512_set1_epi32(static_cast<int>(k));
      const __mmask16 seen =
          _mm512_mask_cmpgt_epi32_mask(_mm512_cmple_epi32_mask(before, key), visible, key);
      const Vec logit = load(s);
      top = _mm512_mask_max_ps(top, seen, top, logit);
      if (job.masked) store(s, _mm512_mask_mov_ps(broadcast(-INFINITY), seen, logit));
    }
    return top;
  }

  /* Whether a weight is above 2^kMostGrowth, or a NaN. */
  static bool exceeds(Vec most) {
    const __m512i limit = _mm512_set1_epi16(0x3f80 + (kMostGrowth << 7));
    return _mm512_cmpgt_epu16_mask(_mm512_castps_si512(most), limit) != 0;
  }

  /* What has to be done before the products with values: rescaling, or all of them one by one. */
  void begin_values(const AmxJob& job) {
    for (int q = 0; q < 2 && job.rescale; q++) {
      float* out = out_ + (job.row + q * kTileSide) * D;
      float* sum = sum_ + job.row + q * kTileSide;
      const Vec alpha = load(job.alpha + q * kTileSide);
      for (int64_t d = 0; d < D; d++) {
        store(out + d * kTileSide, mul(load(out + d * kTileSide), alpha));
      }
      store(sum, mul(load(sum), alpha));
    }
    if (!job.finite) add_singly(job);
  }

  /* The products with values without those of a key that its row does not see. */
  void add_singly(const AmxJob& job) {
    for (int64_t q = 0; q < 2; q++) {
      const int64_t row = job.row + q * kTileSide;
      float* out = out_ + row * D;
      for (int64_t k = 0; k < job.whole; k++) {
        __m512i bits = _mm512_loadu_si512(job.logits + (q * kAmxChunk + k / 2) * kTileSide);
        bits = k % 2 == 0 ? _mm512_slli_epi32(bits, 16)
                          : _mm512_and_si512(bits, _mm512_set1_epi32(static_cast<int>(0xffff0000)));
        const Vec weight = _mm512_castsi512_ps(bits);
        __mmask16 seen = 0;
        for (int64_t i = 0; i < kTileSide; i++) {
          const bool sees = k < job.visible + (row + i) / heads_ && k >= hidden(job, row + i);
          if (sees) seen |= static_cast<__mmask16>(1 << i);
        }
        const bf16* value = reinterpret_cast<const bf16*>(job.raw + k * job.step);
        for (int64_t d = 0; d < D; d++) {
          const Vec before = load(out + d * kTileSide);
          store(out + d * kTileSide,
                _mm512_mask3_fmadd_ps(weight, broadcast(widen(value[d])), before, seen));
        }
        store(sum_ + row, add(load(sum_ + row), weight));
      }
    }
  }

  float* out_; /* O^T: groups of 16 rows, [D][16] */
  float* max_; /* [rows], base 2 */
  float* sum_; /* [rows] */
  char* q_;    /* right tiles, see pack_queries() */
  int64_t rows_ = 0, heads_ = 1, first_token_ = 0, first_head_ = 0, q_offset_ = 0;
  Window window_ = {};
  float factor_ = 0;                   /* |scale| * log2(e) */
  alignas(64) float shift_[kAmxGroup]; /* what the weights of the job now are relative to */
};

}  // namespace SX_ISA
}  // namespace sx

#endif
#endif
