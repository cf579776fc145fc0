/*
 * The attention tile of attention_tile.h on the matrix unit (amx.h), for bf16 keys and values.
 *
 * Queries and softmax weights are rounded to bf16, as FlashAttention does on GPUs; logits, softmax
 * and sums stay in f32. All is transposed: S^T = K Q^T has keys as rows and queries as lanes,
 * so that keys are multiplied where they lie, a softmax over keys never crosses lanes, and two rows
 * of weights are the pairs that the right tile of O^T = V^T P^T is made of. Only values are packed.
 *
 * Rows go in groups of 32, keys in chunks of kChunk; a group and a chunk are a job. While the
 * weights of a job are computed, the products with values of the job before and those with keys of
 * the job after are issued between. Measured with head size 64, for 16 weights: weights alone 4.5
 * cycles, products alone 9, both 14, of which reading keys and values from L2 takes one. They
 * overlap little: from an instruction of the matrix unit until some 1,000 cycles later, one port
 * instead of two multiplies vectors of 512 bits.
 *
 * A row's weights of keys that it does not see are zero. Zero times a NaN would still be one, so
 * where rows see only a part of a tile whose values hold a NaN or an infinity, its values are
 * multiplied key by key.
 */
#ifndef SX_CPU_ATTENTION_AMX_H
#define SX_CPU_ATTENTION_AMX_H

#include "attention_amx_rows.h"

#ifdef SX_HAS_TILES

namespace sx {
namespace SX_ISA {

/* One key/value head's query rows and their running sums, in scratch memory of kBytes. add_keys()
 * takes at most kMostKeys keys. */
template <int D, int64_t kMostKeys>
class AmxTile : AmxRows<D> {
 public:
  using Rows = AmxRows<D>;
  static constexpr int64_t kKeys = kMostKeys;
  static constexpr int64_t kGroup = kAmxGroup;
  static constexpr int64_t kChunk = kAmxChunk;
  static constexpr int64_t kLogits = kGroup * kChunk;
  static constexpr int64_t kBytes =
      2 * kLogits * 4 + Rows::kRowsBytes + 3 * (kKeys + kChunk) * D * 2;
  static_assert(kKeys % kChunk == 0 && kChunk % kGroup == 0 && D % 64 == 0, "tiles are whole");

  explicit AmxTile(void* scratch)
      : Rows(static_cast<char*>(scratch) + 2 * kLogits * 4),
        logits_(static_cast<float*>(scratch)),
        edge_(static_cast<char*>(scratch) + 2 * kLogits * 4 + Rows::kRowsBytes),
        values_(edge_ + 3 * kChunk * D * 2) {}

  /* Takes `tokens` queries from first_token on, of `heads` query heads from first_head on. */
  void begin(const AttentionArgs& args, int64_t first_token, int64_t tokens, int64_t first_head,
             int64_t heads) {
    this->begin_rows(args, first_token, tokens, first_head, heads);
  }

  /* Says which keys come after those of the next add_keys(), so that they are asked for. */
  void expect(const AttentionArgs& args, int64_t kv_head, int64_t begin) {
    const int64_t step = row_bytes(args.kv, begin);
    ahead_[0] = {key_address(args.kv, kv_head, begin), step, D * 2};
    ahead_[1] = {value_address(args.kv, kv_head, begin), step, D * 2};
    asked_ = 0;
  }

  /* The same after the last keys, of what finish() writes, and of queries that come next: those of
   * one head from a token on, or nothing if it is negative. */
  void expect_rows(const AttentionArgs& args, int64_t next_token, int64_t next_head) {
    const int64_t bytes = D * dtype_bytes(args.out_dtype);
    ahead_[0] = {static_cast<const char*>(args.out) + this->row_of(args, 0) * bytes,
                 args.q_heads * bytes, bytes};
    const float* q = static_cast<const float*>(args.q);
    if (next_token >= 0) q += (next_token * args.q_heads + next_head) * D;
    const int64_t q_bytes = next_token < 0 ? 0 : D * 4;
    ahead_[1] = {reinterpret_cast<const char*>(q), args.q_heads * D * 4, q_bytes};
    asked_ = 0;
  }

  /* Adds the keys begin..end - 1, at most kKeys of one segment. */
  void add_keys(const AttentionArgs& args, int64_t kv_head, int64_t begin, int64_t end) {
    const int64_t count = end - begin, step = row_bytes(args.kv, begin);
    const char* keys = key_address(args.kv, kv_head, begin);
    const char* values = value_address(args.kv, kv_head, begin);
    const auto sees = [&](int64_t row) {
      return visible_keys(args.q_offset - begin, this->first_token_ + row / this->heads_, count);
    };
    turn_ = turn_ == 2 ? 0 : turn_ + 1;
    char* packed = values_ + turn_ * kKeys * D * 2;
    char* edge = edge_ + turn_ * kChunk * D * 2;
    pack_values<D>(packed, values, step, count);
    const int64_t last = (count - 1) / kChunk * kChunk; /* the chunk that may not be whole */
    if (count % kTileDepth != 0) copy_rows<D>(edge, keys + last * step, step, count - last, kChunk);
    const int64_t jobs = max64(1, ceil_div(this->rows_, kGroup) * ceil_div(count, kChunk));
    ask_rows_ = ceil_div(kKeys, jobs * (kChunk / kTileSide * 2));
    const auto hides = [&](int64_t row) {
      return max64(0, first_visible(args, this->first_token_ + row / this->heads_) - begin);
    };
    const bool all_seen = sees(0) == count && hides(this->rows_ - 1) == 0;
    const bool finite = all_seen || all_finite<D>(values, step, count);
    for (int64_t row = 0; row < this->rows_; row += kGroup) {
      const int64_t end_row = min64(row + kGroup, this->rows_) - 1;
      const int64_t least = sees(row), most = sees(end_row), hidden = hides(end_row);
      for (int64_t k = hides(row) / kChunk * kChunk; k < most; k += kChunk) {
        Job& job = jobs_[next_];
        job.row = row;
        job.begin = begin + k;
        job.count = round_up(min64(kChunk, most - k), kTileDepth);
        job.visible = args.q_offset - begin - k + this->first_token_ + 1;
        job.whole = min64(count - k, job.count);
        job.masked = least < k + job.count || hidden > k;
        job.finite = finite;
        const bool at_edge = k + job.count > count;
        job.keys = at_edge ? edge : keys + k * step;
        job.key_step = at_edge ? D * 2 : step;
        job.values = packed + k * D * 2;
        job.raw = values + k * step;
        job.step = step;
        advance();
      }
    }
  }

  void finish(const AttentionArgs& args) {
    complete();
    this->write_rows(args);
  }

  void finish_part(const AttentionArgs& args, float* parts) {
    complete();
    this->write_parts(args, parts);
  }

 private:
  using Job = AmxJob;

  /* Rows that will be needed. */
  struct Ahead {
    const char* rows;
    int64_t step, bytes;
  };

  /* Asks for some of the rows that expect() named. */
  void prefetch_rows() {
    const int64_t end = min64(asked_ + ask_rows_, kKeys);
    for (; asked_ < end; asked_++) {
      for (const Ahead& ahead : ahead_) {
        const char* row = ahead.rows + asked_ * ahead.step;
        for (int64_t b = 0; b < ahead.bytes; b += 64) _mm_prefetch(row + b, _MM_HINT_T1);
      }
    }
  }

  void complete() {
    for (int i = 0; i < 2; i++) {
      jobs_[next_].count = 0;
      advance();
    }
  }

  /* Computes the weights of the job before the next, the products with values of the one before
   * that and those with keys of the next, and moves on by one job. The first and the last share a
   * buffer: the products with values come first. */
  void advance() {
    Job& next = jobs_[next_];
    Job& now = jobs_[next_ == 0 ? 2 : next_ - 1];
    const Job& before = jobs_[next_ == 2 ? 0 : next_ + 1];
    next_ = next_ == 2 ? 0 : next_ + 1;
    odd_ = !odd_;
    next.logits = logits_ + (odd_ ? kLogits : 0);
    if (before.count != 0) this->begin_values(before);
    if (now.count != 0) this->begin_weights(now);
    const bool whole = before.count == kChunk && now.count == kChunk && next.count == kChunk;
    const Vec most =
        whole && before.finite ? work<true>(before, now, next) : work<false>(before, now, next);
    if (this->exceeds(most)) weigh_again(now);
  }

  /* The products and weights of advance(); returns the largest weights. */
  template <bool kWhole>
  __attribute__((always_inline)) Vec work(const Job& before, const Job& now, const Job& next) {
    const int64_t value_keys = kWhole ? kChunk : before.finite ? before.count : 0;
    const int64_t steps = value_keys / kTileDepth;
    const int64_t panels = (kWhole ? kChunk : next.count) / kTwoSides;
    const int64_t units = (kWhole ? kChunk : now.count) / kTileSide * 2;
    const Vec factor = broadcast(this->factor_);
    const Vec first = load(this->shift_), second = load(this->shift_ + kTileSide);
    Vec most = zero();
    int64_t unit = 0;
    const auto weigh_some = [&] __attribute__((always_inline)) () {
      prefetch_rows();
      if (unit >= units) return;
      float* half = now.logits + (unit & 1) * kChunk * kTileSide;
      most = weigh(half, unit >> 1, factor, (unit & 1) == 0 ? first : second, most);
      unit++;
    };
    int64_t turn = 0;
    constexpr int64_t kRatio = D / 64;
#pragma GCC unroll 4
    for (int64_t half = 0; half < D / kTwoSides; half++) {
#pragma GCC unroll 4
      for (int64_t step = 0; step < steps; step++) {
        multiply_values(before, half, step, steps);
        if (++turn % kRatio == 0) weigh_some();
      }
    }
#pragma GCC unroll 4
    for (int64_t panel = 0; panel < panels; panel++) {
#pragma GCC unroll 4
      for (int64_t step = 0; step < D / kTileDepth; step++) {
        multiply_keys(next, panel, step);
        if (++turn % kRatio == 0) weigh_some();
      }
    }
    while (unit < units) weigh_some();
    return most;
  }

  /* Product `step` of D / 32 of panel `panel` of 32 keys: S^T of two by two tiles. */
  __attribute__((always_inline)) void multiply_keys(const Job& job, int64_t panel, int64_t step) {
    const char* keys = job.keys + panel * kTwoSides * job.key_step + step * 64;
    const char* q = this->q_ + job.row * D * 2 + step * kTileBytes;
    constexpr int64_t kSecond = kTileSide * D * 2;
    if (step == 0) zero_sums();
    SX_TILE_LOAD(4, keys, job.key_step);
    SX_TILE_LOAD(5, q, 64);
    _tile_dpbf16ps(0, 4, 5);
    SX_TILE_LOAD(5, q + kSecond, 64);
    _tile_dpbf16ps(1, 4, 5);
    SX_TILE_LOAD(4, keys + kTileSide * job.key_step, job.key_step);
    _tile_dpbf16ps(3, 4, 5);
    SX_TILE_LOAD(5, q, 64);
    _tile_dpbf16ps(2, 4, 5);
    float* s = job.logits + panel * kTwoSides * kTileSide;
    if (step + 1 < D / kTileDepth) return;
    _tile_stored(0, s, 64);
    _tile_stored(1, s + kChunk * kTileSide, 64);
    _tile_stored(2, s + kTileSide * kTileSide, 64);
    _tile_stored(3, s + (kChunk + kTileSide) * kTileSide, 64);
  }

  /* Product `step` of `steps` with 32 columns of values from 32 * half on; tiles 6 and 7 have
   * one row and sum the weights. */
  __attribute__((always_inline)) void multiply_values(const Job& job, int64_t half, int64_t step,
                                                      int64_t steps) {
    float* out = this->out_ + job.row * D + half * kTwoSides * kTileSide;
    float* second = out + kTileSide * D;
    constexpr int64_t kTile = kTileSide * kTileSide;
    if (step == 0) {
      SX_TILE_LOAD(0, out, 64);
      SX_TILE_LOAD(1, out + kTile, 64);
      SX_TILE_LOAD(2, second, 64);
      SX_TILE_LOAD(3, second + kTile, 64);
      if (half < 2) SX_TILE_LOAD(6, this->sum_ + job.row + half * kTileSide, 64);
    }
    const char* values = job.values + (step * (D / kTileSide) + half * 2) * kTileBytes;
    const char* weights = reinterpret_cast<const char*>(job.logits) + step * kTileBytes;
    constexpr int64_t kSecond = kChunk * kTileSide * 4;
    SX_TILE_LOAD(5, weights, 64);
    SX_TILE_LOAD(4, values, 64);
    _tile_dpbf16ps(0, 4, 5);
    if (half == 0) _tile_dpbf16ps(6, 7, 5);
    SX_TILE_LOAD(4, values + kTileBytes, 64);
    _tile_dpbf16ps(1, 4, 5);
    SX_TILE_LOAD(5, weights + kSecond, 64);
    _tile_dpbf16ps(3, 4, 5);
    if (half == 1) _tile_dpbf16ps(6, 7, 5);
    SX_TILE_LOAD(4, values, 64);
    _tile_dpbf16ps(2, 4, 5);
    if (step + 1 < steps) return;
    _tile_stored(0, out, 64);
    _tile_stored(1, out + kTile, 64);
    _tile_stored(2, second, 64);
    _tile_stored(3, second + kTile, 64);
    if (half < 2) _tile_stored(6, this->sum_ + job.row + half * kTileSide, 64);
  }

  /* Turns 16 keys of 16 rows into weights, pairs of keys in 32 bits. Returns the largest, also of
   * `most`, as bits. */
  __attribute__((always_inline)) Vec weigh(float* half, int64_t index, Vec factor, Vec shift,
                                           Vec most) {
    const float* s = half + index * kTileSide * kTileSide;
    char* p = reinterpret_cast<char*>(half) + index * kTileBytes / 2;
    __m512i largest = _mm512_castps_si512(most);
#pragma GCC unroll 8
    for (int k = 0; k < kTileSide; k += 2, s += 2 * kTileSide, p += 64) {
      const Vec even = weight_of(load(s), factor, shift);
      const Vec odd = weight_of(load(s + kTileSide), factor, shift);
      const __m512i pairs = pair_of(even, odd);
      largest = _mm512_max_epu16(largest, pairs);
      _mm512_store_si512(p, pairs);
    }
    return _mm512_castsi512_ps(largest);
  }

  /* Computes a job's logits, which its weights have replaced, and its weights again. */
  __attribute__((noinline)) void weigh_again(Job& job) {
    for (int64_t panel = 0; panel < job.count / kTwoSides; panel++) {
      for (int64_t step = 0; step < D / kTileDepth; step++) multiply_keys(job, panel, step);
    }
    this->move_maxima(job);
    this->set_shifts(job);
    for (int64_t q = 0; q < 2; q++) {
      for (int64_t k = 0; k < job.count / kTileSide; k++) {
        weigh(job.logits + q * kChunk * kTileSide, k, broadcast(this->factor_),
              load(this->shift_ + q * kTileSide), zero());
      }
    }
  }

  const AttentionTileScope scope_;
  float* logits_; /* two buffers of S^T, one after the other's P^T */
  char* edge_;    /* three turns of keys of a chunk that is not whole */
  char* values_;  /* three turns of left tiles, see pack_values() */
  int64_t turn_ = 0;
  bool odd_ = false;
  Ahead ahead_[2] = {};
  int64_t asked_ = kKeys, ask_rows_ = 0; /* rows asked for, and how many to ask for at a time */
  int next_ = 0;                         /* of jobs_ */
  Job jobs_[3] = {};
};

}  // namespace SX_ISA
}  // namespace sx

#endif
#endif
