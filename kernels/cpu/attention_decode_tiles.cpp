/*
 * Attention of few queries of some sequences, each over chosen tiles of its keys and the means of the
 * others (see sx_attention_decode_tiles in ../sx_attention.h).
 *
 * The formula is attention_decode's, and so are the rows that meet the keys (attention_decode.h), up to
 * kFewRows at a time. What a key head reads is numbered on from 0: the keys of its chosen tiles, those
 * behind the pooled tiles, then a mean for each other tile. Splits depend on how many there are, and
 * attention_parts.h merges them in order. Neighbouring tiles, and neighbouring means, are read as one
 * run. A sequence of which every head reads all tiles is attention_decode's. Bytes read
 * 2*D*sizeof(kv) for each key and mean.
 */
#include "attention_decode.h"

namespace sx {
namespace SX_ISA {

namespace {

using Args = sx_attention_decode_tiles_params;

/* ln(128) in base 2: the weight of a tile's mean. */
constexpr float kTileLog2 = 7;
static_assert(SX_TILE == 128, "a mean has the weight of its keys");

/* What one key head of a sequence reads, and how that is split. */
struct HeadPlan : SplitPlan {
  const int32_t* list; /* chosen tiles, then the others */
  int64_t pooled, chosen;
  int64_t keys, all; /* keys, and with the means */
};

HeadPlan plan_head(const Args& args, int64_t sequence, int64_t kv_head) {
  const sx_attention_decode_params& decode = args.attention;
  const int64_t at = sequence * decode.kv_heads + kv_head;
  HeadPlan plan = {};
  plan.list = args.indices + at * args.index_stride;
  plan.pooled = args.pooled_tiles[sequence];
  plan.chosen = args.counts[at];
  plan.keys = decode.key_count[sequence] - (plan.pooled - plan.chosen) * SX_TILE;
  plan.all = plan.keys + plan.pooled - plan.chosen;
  split_keys(plan, plan.all);
  return plan;
}

/* Whether every head of a sequence reads all of its keys. */
bool reads_all(const Args& args, int64_t sequence) {
  const int64_t heads = args.attention.kv_heads;
  for (int64_t h = 0; h < heads; h++) {
    if (args.counts[sequence * heads + h] != args.pooled_tiles[sequence]) return false;
  }
  return true;
}

/* Some sequences of the call by themselves. */
sx_attention_decode_params part_of(const sx_attention_decode_params& args, int64_t first,
                                   int64_t sequences) {
  const int64_t rows = first * args.q_tokens * args.q_heads, at = rows * args.head_dim;
  sx_attention_decode_params part = args;
  part.out = static_cast<char*>(args.out) + at * dtype_bytes(args.out_dtype);
  part.lse_log2 = args.lse_log2 == nullptr ? nullptr : args.lse_log2 + rows;
  part.q = static_cast<const float*>(args.q) + at;
  part.first_row = args.first_row == nullptr ? nullptr : args.first_row + first;
  part.key_count = args.key_count + first;
  part.sequences = sequences;
  return part;
}

/* How many numbers from list[at] on follow each other, `most` at most. */
int64_t neighbours(const int32_t* list, int64_t at, int64_t most) {
  int64_t count = 1;
  while (count < most && list[at + count] == list[at] + count) count++;
  return count;
}

/* Adds those of the means that are numbered begin..end-1 to the rows of one key head. */
template <class Mean, class Key, int D>
void add_means(const Args& args, const HeadPlan& plan, int64_t base, int64_t begin, int64_t end,
               Split<Key, D>& rows) {
  const Mean* keys = static_cast<const Mean*>(args.mean_keys) + base;
  const Mean* values = static_cast<const Mean*>(args.mean_values) + base;
  for (int64_t at = max64(begin, plan.keys); at < end;) {
    const int64_t place = plan.chosen + at - plan.keys;
    const int64_t count = neighbours(plan.list, place, min64(kTile, end - at));
    const int64_t row = plan.list[place] * int64_t{D};
    const Run<Mean> run = {keys + row, values + row, D, kTileLog2, nullptr, nullptr};
    rows.add_run(run, count);
    at += count;
  }
}

/* Adds what is numbered begin..end-1 to the rows of one key head. */
template <class Key, int D>
void add_numbers(const Args& args, const HeadPlan& plan, int64_t sequence, int64_t kv_head,
                 int64_t begin, int64_t end, Split<Key, D>& rows) {
  const int64_t from_tiles = plan.chosen * SX_TILE, keys_end = min64(end, plan.keys);
  const int64_t behind = (plan.pooled - plan.chosen) * SX_TILE;
  const auto key_of = [&](int64_t at) {
    return at < from_tiles ? plan.list[at / SX_TILE] * int64_t{SX_TILE} + at % SX_TILE
                           : behind + at;
  };
  for (int64_t at = begin; at < min64(end, from_tiles);) {
    const int64_t tile = at / SX_TILE, key = key_of(at);
    const int64_t run = neighbours(plan.list, tile, min64(kTile / SX_TILE, plan.chosen - tile));
    const int64_t count = min64(run * SX_TILE - at % SX_TILE, end - at);
    at += count;
    rows.add_keys(key, key + count, at < keys_end ? rows.keys_at(key_of(at)) : nullptr);
  }
  const int64_t tail = max64(begin, from_tiles);
  if (tail < keys_end) rows.add_keys(key_of(tail), key_of(keys_end - 1) + 1, nullptr);
  const sx_attention_decode_params& decode = args.attention;
  const int64_t first_row = decode.first_row == nullptr ? 0 : decode.first_row[sequence];
  const int64_t base = kv_head * args.mean_head_stride + first_row / SX_TILE * D;
  if (decode.key_scales == nullptr) {
    add_means<Key>(args, plan, base, begin, end, rows);
  } else if (args.mean_dtype == SX_BF16) {
    add_means<ordered_bf16>(args, plan, base, begin, end, rows);
  } else {
    add_means<float>(args, plan, base, begin, end, rows);
  }
}

template <class Key, int D>
void run_unit(const Args& args, const HeadPlan& plan, int64_t head, int64_t unit, float* parts) {
  const sx_attention_decode_params& decode = args.attention;
  const int64_t sequence = head / decode.kv_heads, kv_head = head % decode.kv_heads;
  const AttentionArgs dense = dense_arguments(decode, sequence);
  const int64_t split = unit % plan.splits, first = split * plan.split_keys;
  Split<Key, D> rows(decode, dense, sequence, kv_head, unit / plan.splits * kFewRows);
  add_numbers<Key, D>(args, plan, sequence, kv_head, first,
                      min64(first + plan.split_keys, plan.all), rows);
  rows.finish(parts + plan.parts + split * part_floats(decode));
}

/* The plans of all key heads; those of sequences that read everything have no unit. Returns the floats
 * of all parts, and how many units there are. */
int64_t plan_all(const Args& args, HeadPlan* plans, int64_t& units) {
  const sx_attention_decode_params& decode = args.attention;
  const int64_t heads = decode.kv_heads;
  int64_t floats = 0;
  units = 0;
  for (int64_t s = 0; s < decode.sequences; s++) {
    const bool all = reads_all(args, s);
    int64_t most = 0;
    for (int64_t h = 0; h < heads; h++) {
      HeadPlan& plan = plans[s * heads + h];
      plan = plan_head(args, s, h);
      plan.first_unit = units;
      plan.parts = floats;
      if (all) continue;
      units += plan.splits * row_groups(decode);
      most = max64(most, plan.splits);
    }
    floats += most * part_floats(decode);
  }
  return floats;
}

template <class Key, int D>
sx_status run(Context& context, const Args& args) {
  const sx_attention_decode_params& decode = args.attention;
  const int64_t count = decode.sequences * decode.kv_heads;
  const int64_t plan_bytes = round_up(count * int64_t{sizeof(HeadPlan)}, 64);
  /* No head has more splits than this. */
  const int64_t bytes = plan_bytes + decode.sequences * kSplits * part_floats(decode) * 4;
  char* memory = static_cast<char*>(scratch(context, bytes));
  if (memory == nullptr) return out_of_scratch(context, "attention_decode_tiles", bytes);
  HeadPlan* plans = reinterpret_cast<HeadPlan*>(memory);
  float* parts = reinterpret_cast<float*>(memory + plan_bytes);
  int64_t units;
  const int64_t floats = plan_all(args, plans, units);
  parallel_for(context, units, 1, [&](int64_t begin, int64_t end, int32_t) {
    for (int64_t unit = begin; unit < end; unit++) {
      const int64_t head = plan_of(plans, count, unit);
      run_unit<Key, D>(args, plans[head], head, unit - plans[head].first_unit, parts);
    }
  });
  const int64_t group = decode.q_heads / decode.kv_heads;
  merge_rows<D>(context, decode, parts, floats, [&](int64_t s, int64_t row) -> const HeadPlan* {
    if (reads_all(args, s)) return nullptr;
    return plans + s * decode.kv_heads + row % decode.q_heads / group;
  });
  return SX_OK;
}

}  // namespace

sx_status attention_decode_tiles(Context& context, const Args& args) {
  const sx_attention_decode_params& decode = args.attention;
  if (decode.q_tokens == 0 || decode.sequences == 0) return SX_OK;
  bool chooses = false;
  for (int64_t s = 0; s < decode.sequences; s++) {
    if (!reads_all(args, s)) {
      chooses = true;
      continue;
    }
    const sx_status status = attention_decode(context, part_of(decode, s, 1));
    if (status != SX_OK) return status;
  }
  if (!chooses) return SX_OK;
  return with_keys(decode, [&](auto key, auto dim) {
    return run<std::remove_const_t<std::remove_pointer_t<decltype(key)>>, dim()>(context, args);
  });
}

}  // namespace SX_ISA
}  // namespace sx
