/*
 * What block-sparse attention did not read, by the means of its tiles (see sx_attention_rest in
 * ../sx_attention.h).
 *
 * A unit is one head's row tile of 128 queries: the means of its rest are gathered, kKeys at a time,
 * and go through attention_tile.h as keys and values do; at the end the sums meet those of the chosen
 * tiles. In powers of two a tile's weight of 128 keys is 7 more in the exponent. Arithmetic in f32.
 * FLOPs 4*D per query and tile of the rest, 1/128 of what these tiles would cost.
 */
#include "attention_tile.h"
#include "thread_pool.h"

namespace sx {
namespace SX_ISA {

namespace {

constexpr float kTileLog2 = 7;
static_assert(SX_TILE == 1 << 7, "the logarithm of a tile's keys");
static_assert(SX_TILE <= kTileRows, "the queries of a row tile fit a tile");

/* A row tile of queries and the means of its rest, in scratch memory of kBytes. */
template <int D>
class RestTile : public AttentionTile<D> {
 public:
  using Base = AttentionTile<D>;
  static constexpr int64_t kKeys = Base::kKeys;
  static constexpr int64_t kRestBytes = Base::kBytes + 4 * (2 * kKeys * D) + 8 * kKeys;

  RestTile(const sx_attention_rest_params& args, void* scratch)
      : Base(scratch),
        args_(args),
        mean_keys_(reinterpret_cast<float*>(static_cast<char*>(scratch) + Base::kBytes)),
        mean_values_(mean_keys_ + kKeys * D),
        tiles_(reinterpret_cast<int64_t*>(mean_values_ + kKeys * D)) {
    all_.q = args.q;
    all_.scale = args.scale;
    all_.q_heads = args.q_heads;
  }

  void run(int64_t head, int64_t row_tile) {
    const int64_t q_tiles = ceil_div(args_.q_tokens, SX_TILE), first_token = row_tile * SX_TILE;
    const int64_t list = head * q_tiles + row_tile;
    const int32_t* chosen = args_.indices + list * args_.index_stride;
    const int32_t* end = chosen + args_.counts[list];
    const int64_t own = args_.q_offset / SX_TILE + row_tile;
    this->begin(all_, first_token, min64(SX_TILE, args_.q_tokens - first_token), head, 1);
    /* A tile of which the first query does not see all keys, none of the others does. */
    const int64_t first_key = window().first_key(args_.q_offset + first_token);
    for (int64_t tile = ceil_div(first_key, SX_TILE); tile < own; tile++) {
      while (chosen < end && *chosen < tile) chosen++;
      if (chosen < end && *chosen == tile) continue;
      gather(head / (args_.q_heads / args_.kv_heads), tile);
      if (count_ == kKeys) add_means();
    }
    if (count_ > 0) add_means();
    for (int64_t r = 0; r < this->rows_; r++) write(r);
  }

 private:
  Window window() const { return {args_.window, args_.prefix_tokens, args_.prefix_gap}; }

  void gather(int64_t kv_head, int64_t tile) {
    const int64_t at = kv_head * args_.mean_head_stride + tile * D;
    const float* key = static_cast<const float*>(args_.mean_keys) + at;
    const float* value = static_cast<const float*>(args_.mean_values) + at;
    for (int64_t d = 0; d < D; d += kLanes) {
      store(mean_keys_ + count_ * D + d, load(key + d));
      store(mean_values_ + count_ * D + d, load(value + d));
    }
    tiles_[count_++] = tile;
  }

  /* Adds the gathered means to all rows. */
  void add_means() {
    const int64_t bytes = D * sizeof(float), padded = round_up(count_, kMicroColumns);
    pack_transposed<false>(this->keys_, D, reinterpret_cast<const char*>(mean_keys_), bytes, count_,
                           padded, D);
    pack_columns<false>(this->values_, kKeys, reinterpret_cast<const char*>(mean_values_), bytes,
                        count_, D);
    int64_t hidden = 0;
    for (int64_t r = 0; r < this->rows_; r++) {
      const int64_t first_key = window().first_key(args_.q_offset + this->first_token_ + r);
      while (hidden < count_ && tiles_[hidden] * SX_TILE < first_key) hidden++;
      this->visible_[r] = count_;
      this->hidden_[r] = hidden;
    }
    for (int64_t r = 0; r < this->rows_; r += kMicroRows) {
      with_rows<kMicroRows>(min64(kMicroRows, this->rows_ - r),
                            [&](auto rows) { this->template add_group<rows()>(r); });
    }
    count_ = 0;
  }

  /* Writes row r: its partial attention, and with it what was summed here. */
  void write(int64_t r) const {
    const int64_t row = this->row_of(all_, r);
    const RowState& state = this->state_[r];
    const float* sums = this->out_ + r * D;
    const float* partial = args_.partial + row * D;
    const float partial_lse = args_.partial_lse_log2[row];
    if (state.sum == 0) {
      write_row(args_.out, args_.out_dtype, row, D, partial, 1);
      if (args_.lse_log2 != nullptr) args_.lse_log2[row] = partial_lse;
      return;
    }
    const float max = state.max_log2 + kTileLog2, top = larger(max, partial_lse);
    const float keep = exp2f(partial_lse - top), factor = exp2f(max - top);
    const float total = keep + factor * state.sum;
    float row_sums[D];
    for (int64_t d = 0; d < D; d += kLanes) {
      const Vec kept = mul(load(partial + d), broadcast(keep));
      store(row_sums + d, fma(load(sums + d), broadcast(factor), kept));
    }
    write_row(args_.out, args_.out_dtype, row, D, row_sums, 1 / total);
    if (args_.lse_log2 != nullptr) args_.lse_log2[row] = top + log2f(total);
  }

  const sx_attention_rest_params& args_;
  AttentionArgs all_ = {}; /* the queries as attention_tile.h takes them */
  float* mean_keys_;       /* [kKeys][D], gathered */
  float* mean_values_;     /* as mean_keys_ */
  int64_t* tiles_;         /* [kKeys], their numbers */
  int64_t count_ = 0;      /* so many are gathered */
};

template <int D>
sx_status run(Context& context, const sx_attention_rest_params& args) {
  constexpr int64_t kBytes = RestTile<D>::kRestBytes;
  const int64_t bytes = context.threads * kBytes;
  char* memory = static_cast<char*>(scratch(context, bytes));
  if (memory == nullptr) return out_of_scratch(context, "attention_rest", bytes);
  const int64_t q_tiles = ceil_div(args.q_tokens, SX_TILE);
  parallel_for(context, args.q_heads * q_tiles, 1, [&](int64_t begin, int64_t end, int32_t worker) {
    for (int64_t unit = begin; unit < end; unit++) {
      /* The longest rows first. */
      RestTile<D>(args, memory + worker * kBytes)
          .run(unit % args.q_heads, q_tiles - 1 - unit / args.q_heads);
    }
  });
  return SX_OK;
}

}  // namespace

sx_status attention_rest(Context& context, const sx_attention_rest_params& args) {
  return args.head_dim == 64 ? run<64>(context, args) : run<128>(context, args);
}

}  // namespace SX_ISA
}  // namespace sx
